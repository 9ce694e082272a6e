"""What a run consists of: an edit of one picture by one arm with one seed, and groups of them that share a picture."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import InputError
from ..picture.masks import load_mask, load_regions
from ..picture.reading import load_image
from ..request import Drag, Request
from ..settings import Settings, make_settings

Key = tuple[str, str, int]  # item, arm, seed


@dataclass(frozen=True)
class Opened:
    """What an edit needs, in memory.

    image: whatever `Editor` takes. mask, region: as `Editor.drag` takes them. answer: what is known of the outcome, for
    whoever judges it; truth: (H, W, 3) uint8, the picture that is to be reached, where it is known.
    """

    image: Any
    prompt: str
    drags: tuple[Drag, ...]
    mask: Any = None
    region: Any = None
    answer: Any = None
    truth: np.ndarray | None = None


class Source(Protocol):
    """Where a picture and its drags come from; travels to other processes, and is opened there."""

    def open(self) -> Opened:
        """Raises InputError."""
        ...


@dataclass(frozen=True)
class RequestSource:
    """A picture's file and a request for it, whose masks can be opened from here."""

    image: Path
    request: Request

    def open(self) -> Opened:
        loaded = load_image(self.image)
        size = loaded.rgb.shape[:2]
        request = self.request
        return Opened(
            loaded,
            request.prompt,
            request.drags,
            None if request.mask is None else load_mask(request.mask, size),
            load_regions(request.region, size) or None,
        )


@dataclass(frozen=True)
class Task:
    """One edit.

    group: names the picture and its prompt, whose preparation is paid once; arm: what the settings are called;
    category: for tables; at: the point of the way that is kept, as `EditResult.at` has it, where it is not the end.
    """

    item: str
    group: str
    arm: str
    seed: int
    source: Source
    settings: Mapping[str, Any] = field(default_factory=dict)
    category: str = ""
    at: float | None = None

    @property
    def key(self) -> Key:
        return self.item, self.arm, self.seed

    @property
    def asked(self) -> Settings:
        return make_settings({**self.settings, "seed": self.seed})


@dataclass(frozen=True)
class Group:
    """The tasks of one picture, which one worker does."""

    name: str
    tasks: tuple[Task, ...]


def grouped(tasks: Iterable[Task]) -> tuple[Group, ...]:
    """In the order in which pictures first come. Raises InputError for two tasks that would write the same."""
    groups: dict[str, list[Task]] = defaultdict(list)
    seen: set[Key] = set()
    for task in tasks:
        place = file_name(task.item).lower(), arm_name(task.arm), task.seed
        if place in seen:
            raise InputError(f"The run has {task.item} by {task.arm} with seed {task.seed} twice; names must differ.")
        seen.add(place)
        groups[task.group].append(task)
    return tuple(Group(name, tuple(members)) for name, members in groups.items())


def arm_name(text: str) -> str:
    """An arm's name as a file's, another one for every arm: what had to be changed has digits of its own behind it."""
    shown = re.sub(r"[^\w.+,=-]+", "-", text)[:80]
    if shown == text.lower():
        return shown
    return f"{shown}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def file_name(text: str) -> str:
    """A name that every file system takes, the same for the same text."""
    return re.sub(r"[^\w.+-]+", "-", text).strip("-.")[:100] or "item"
