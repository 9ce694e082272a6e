"""What an edit needs of the device's memory at its size, what it may do to get by with less, and which of that it does.

By phase, since each needs something else; the most that any needs is what must be there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from ..errors import NotEnoughMemoryError
from ..settings import ResolvedSettings
from .base import FINEST, TILE, DiffusionModel
from .needs import DECODING, ENCODING, Outline, outline
from .recompute import recomputed

BESIDES = 1.05  # what the allocator rounds up
SHARE = 0.95  # of the free memory that an edit counts on
GIGABYTE = 2**30


@dataclass(frozen=True)
class Means:
    """What is done so that less memory is needed; the first two change the result by rounding, the third not at all.

    rest: text encoders and autoencoder lie in the machine's memory; the text is encoded there. at_once: how many
    copies of a step of the LoRA go through the U-Net side by side (the same but for rounding); None is all of them.
    again: the U-Net's blocks are computed again in the backward pass instead of being kept. tiles: the picture is
    encoded and decoded in tiles of 512 px (a little different from one that is not).
    """

    rest: bool = False
    at_once: int | None = None
    again: bool = False
    tiles: bool = False

    def traits(self, size: tuple[int, int], settings: ResolvedSettings) -> tuple:
        """What of these shows in the numbers, for keys of what is kept; nothing by default."""
        found: list[tuple] = []
        if self.tiles and max(size) > TILE:
            found.append(("tiles", TILE))
        if self.rest:
            found.append(("text", "beside"))
        if self.at_once is not None and self.at_once < settings.lora_batch and settings.lora_steps:
            found.append(("at once", self.at_once))
        return tuple(found)

    def words(self) -> str:
        """In a sentence, behind a colon."""
        said = []
        if self.rest:
            said.append("text encoders and autoencoder wait in the machine's memory")
        if self.at_once is not None:
            said.append(f"the LoRA takes {self.at_once} of its noised copies at a time")
        if self.again:
            said.append("the U-Net's blocks are computed twice instead of being kept")
        if self.tiles:
            said.append(f"the picture is encoded and decoded in tiles of {TILE} px")
        return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said)


NONE = Means()


@dataclass(frozen=True)
class Ability:
    """What a backend can do of the means that are not for everybody."""

    rest: bool = False
    tiles: bool = False

    @classmethod
    def of(cls, model: DiffusionModel) -> Ability:
        return cls(model.can_rest, model.can_tile)


@dataclass(frozen=True)
class Choice:
    """means: what is done; full, needed: bytes needed without and with them; room: bytes that can be had, or None."""

    means: Means
    full: int
    needed: int
    room: int | None

    @property
    def note(self) -> str:
        """One sentence where something is done because memory is short, else nothing."""
        if self.means == NONE or self.room is None or self.full <= self.room:
            return ""
        return (
            f"This edit needs about {gigabytes(self.full)} of memory, and {gigabytes(self.room)} are free for it: "
            f"{self.means.words()}, with which it needs about {gigabytes(self.needed)} (memory='full', --memory full, "
            "does none of this)."
        )


def gigabytes(count: float) -> str:
    return f"{count / GIGABYTE:.1f} GB" if count >= GIGABYTE else f"{count / 2**20:.0f} MB"


def phases(
    about: Outline,
    size: tuple[int, int],
    settings: ResolvedSettings,
    masked: bool,
    means: Means,
    items: int | None = None,
) -> dict[str, int]:
    """Bytes at most, by phase, all in.

    size: (height, width) in pixels of what is worked on; masked: whether a mask's background term needs all of the
    U-Net; items: pictures that are denoised side by side, by default as in an edit.
    """
    pixels = size[0] * size[1]
    cells = pixels // 64
    text, vae = about.companions
    there = about.unet + about.beside + (0 if means.rest else text + vae)
    woken = vae if means.rest else 0  # for its phases alone; text encoders compute where they rest
    at_once = min(pixels, TILE**2) if means.tiles else pixels
    coded = about.precise * about.width * at_once
    adapter = about.adapter * settings.lora_rank if settings.lora_steps else 0
    if items is None:
        items = 2 if settings.shared_attention else 1
    beside: dict[str, float] = {
        "encode": ENCODING * coded,
        "invert": about.forward(cells),
        "denoise": about.forward(cells, items),
        "decode": DECODING * coded,
    }
    if settings.lora_steps:
        batch = min(means.at_once or settings.lora_batch, settings.lora_batch)
        # Weights, gradients and both moments, and a copy in the U-Net's precision.
        own = adapter * (12 + about.size)
        beside["identity"] = own + about.graph(cells, batch, tuned=True, again=means.again)
    if settings.has_loop:
        number = len(about.parts) - 2 - (FINEST - settings.feature_block)  # decoder stages up to the features
        stages = None if masked and settings.mask_weight > 0 else number
        # The negative prompt's beside the prompt's, where one of its ends is read.
        graphs = 2 if settings.feature_guidance != 1 or (settings.guidance != 1 and stages is None) else 1
        beside["drag"] = about.graph(cells, graphs, stages=stages, again=means.again)
    there += 4 * adapter
    return {
        phase: round(there + woken * (phase in ("encode", "decode")) + BESIDES * count)
        for phase, count in beside.items()
    }


def choose(
    about: Outline,
    able: Ability,
    room: int | None,
    size: tuple[int, int],
    settings: ResolvedSettings,
    masked: bool,
    only: Collection[str] = (),
    items: int | None = None,
) -> Choice:
    """The fewest means with which an edit fits into the room; all or none of them where the settings say so.

    only: the phases that are to come, where it is not all of them. A choice may need more than there is; see `refuse`.
    """

    def needed(means: Means) -> int:
        found = phases(about, size, settings, masked, means, items)
        return max(count for phase, count in found.items() if not only or phase in only)

    full, means = needed(NONE), NONE
    if settings.memory == "lean":
        means = leanest(able, settings)
    elif settings.memory == "auto" and room is not None:
        while needed(means) > room:
            # In order: what costs least first; what does not help with the fullest phase is left alone.
            better = next((m for m in _further(means, able, settings) if needed(m) < needed(means)), None)
            if better is None:
                break
            means = better
    return Choice(means, full, needed(means), room)


def leanest(able: Ability, settings: ResolvedSettings) -> Means:
    """Everything that can be done."""
    at_once = 1 if settings.lora_steps and settings.lora_batch > 1 else None
    return Means(able.rest, at_once, True, able.tiles)


def _further(means: Means, able: Ability, settings: ResolvedSettings) -> Sequence[Means]:
    """With one thing more."""
    batch = means.at_once or settings.lora_batch
    return [
        *([replace(means, rest=True)] if able.rest and not means.rest else []),
        *([replace(means, at_once=batch // 2)] if settings.lora_steps and batch > 1 else []),
        *([replace(means, again=True)] if not means.again else []),
        *([replace(means, tiles=True)] if able.tiles and not means.tiles else []),
    ]


def refuse(choice: Choice, settings: ResolvedSettings) -> None:
    """Raise NotEnoughMemoryError where even the leanest way does not fit, unless the settings insist."""
    if settings.memory == "auto" and choice.room is not None and choice.needed > choice.room:
        raise NotEnoughMemoryError(
            f"This edit needs about {gigabytes(choice.needed)} of memory even in the leanest way, and "
            f"{gigabytes(choice.room)} are free for it; use a smaller --resolution, or free some, or try all the same "
            "with memory='lean' (--memory lean)."
        )


def room_of(model: DiffusionModel) -> int | None:
    """Bytes that an edit can have on the model's device, with what the model has of it already; None if unknown."""
    free = model.free_memory()
    if free is None:
        return None
    loaded = (part for module in (model.unet, *model.companions) for part in module.parameters())
    return round(SHARE * free) + sum(p.numel() * p.element_size() for p in loaded if p.device.type == model.device.type)


def choose_for(
    model: DiffusionModel,
    size: tuple[int, int],
    settings: ResolvedSettings,
    masked: bool,
    only: Collection[str] = (),
    items: int | None = None,
) -> Choice:
    """`choose` for a model, with the memory that is free now. Nothing is known of a U-Net of an unknown kind."""
    about, able = outline(model), Ability.of(model)
    if about is None:
        return Choice(leanest(able, settings) if settings.memory == "lean" else NONE, 0, 0, None)
    return choose(about, able, room_of(model), size, settings, masked, only, items)


@contextmanager
def installed(model: DiffusionModel, means: Means) -> Iterator[None]:
    """Do it within the block; afterwards the model is what it was."""
    with ExitStack() as stack:
        if means.rest:
            stack.enter_context(model.resting())
        if means.tiles:
            stack.enter_context(model.tiled())
        if means.again:
            stack.enter_context(recomputed(model))
        yield
