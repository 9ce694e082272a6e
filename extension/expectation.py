"""What an edit will probably take, said before it is asked for: from what earlier ones took, and nothing else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..sdk.model.identity import levels
from ..sdk.picture.placement import NATIVE_PIXELS
from ..sdk.result import EditResult
from ..sdk.settings import ResolvedSettings, Settings
from .pictures import Picture

REMEMBERED = 50  # edits
ALIKE = 1.5  # working sizes that differ by less are compared by their area; memory is not


@dataclass(frozen=True)
class Taken:
    """An edit that was. area: pixels that the model worked on; native: side of the pictures that it was made for;
    seconds: of the phases that had something to do; memory: bytes at most."""

    picture: str
    settings: ResolvedSettings
    area: int
    native: int
    steps: int
    seconds: Mapping[str, float]
    memory: int


@dataclass(frozen=True)
class Expected:
    """None where nothing is known."""

    seconds: float | None = None
    memory: int | None = None


class Experience:
    """What this process has seen."""

    def __init__(self) -> None:
        self._taken: deque[Taken] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def learn(self, picture: Picture, result: EditResult, native: int, worked: Collection[str]) -> None:
        """Remember a finished edit. worked: the phases that had something to do, since not all was known already."""
        tall, wide = result.rendering.frame.padded
        taken = Taken(
            picture.id,
            result.settings,
            tall * wide,
            native,
            result.steps,
            {phase: seconds for phase, seconds in result.timings.items() if phase in worked},
            result.peak_memory,
        )
        with self._lock:
            self._taken.append(taken)

    def expect(self, picture: Picture, asked: Settings) -> Expected:
        """For an edit of a picture that has not been asked for yet."""
        with self._lock:
            newest_first = list(reversed(self._taken))
        settings = asked.resolve()
        same = [taken for taken in newest_first if _kind(taken.settings) == _kind(settings)]
        if not same:
            return Expected()
        area = _area(picture, settings, same[0].native)
        near = [taken for taken in same if 1 / ALIKE <= taken.area / area <= ALIKE]
        memory = next((taken.memory for taken in near if taken.memory), None)
        seconds = 0.0
        for phase, units in _UNITS.items():
            if phase != "drag" and any(_knows(taken, picture, settings, phase) for taken in newest_first):
                continue
            if not units(settings, same[0]):
                continue
            # The newest edit that had to do this at all; any method learns and inverts alike.
            pool = same if phase == "drag" else newest_first
            found = next((taken for taken in pool if phase in taken.seconds and _did(taken, phase)), None)
            if found is None:
                return Expected(None, memory)
            share = area / found.area * units(settings, found) / _did(found, phase)
            seconds += share * found.seconds[phase]
        return Expected(seconds, memory)


def _kind(settings: ResolvedSettings) -> tuple[Any, ...]:
    return settings.method, settings.text, settings.start != "none", settings.guided


def _levels(settings: ResolvedSettings) -> float:
    return settings.strength * settings.inference_steps * (1 if settings.guidance == 1 else 2)


# What a phase's time goes with: for an edit that is asked for, given one that was.
_UNITS: dict[str, Callable[[ResolvedSettings, Taken], float]] = {
    "identity": lambda settings, _was: settings.lora_steps * settings.lora_batch,
    "invert": lambda settings, _was: _levels(settings),
    # An edit ends when its points arrive: mostly after as many steps as the last one.
    "drag": lambda settings, was: min(settings.steps, max(1, was.steps)) if settings.method != "warp" else 0,
    "denoise": lambda settings, _was: _levels(settings),
}


def _did(taken: Taken, phase: str) -> float:
    return _UNITS[phase](taken.settings, taken)


def _knows(taken: Taken, picture: Picture, settings: ResolvedSettings, phase: str) -> bool:
    """Whether this phase was done for the same picture, so that it need not be done again."""
    before = taken.settings
    if phase == "denoise" or taken.picture != picture.id or before.start != settings.start:
        return False
    names = ["identity", "lora_steps", "lora_lr", "lora_rank", "lora_batch", "seed", "resolution", "crop"]
    if levels(before) != levels(settings):
        return False
    if phase == "invert":
        if settings.start == "warp":
            return False  # another start is another picture
        names += ["strength", "inference_steps", "guidance"]
        names += ["guidance_schedule", "negative_prompt"] if settings.guidance != 1 else []
    return all(getattr(before, name) == getattr(settings, name) for name in names)


def _area(picture: Picture, settings: ResolvedSettings, native: int) -> float:
    height, width = picture.size
    if settings.resolution is not None:
        return settings.resolution**2
    return native**2 if settings.crop == "auto" or height * width > NATIVE_PIXELS else height * width
