"""Which part of a picture is worked on, and at what size; and what the user should know before any work begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..errors import InputError
from ..request import Drag, Point, show
from ..settings import ResolvedSettings, Settings, as_dict
from .frame import Frame, box_around
from .masks import SENSIBLE_SHARE

NATIVE_PIXELS = 1024 * 1024  # pictures up to this area are worked on at their own size


@dataclass(frozen=True)
class Placement:
    """frame: what is worked on. settings: those asked for, with the crop that was chosen. notes: sentences."""

    frame: Frame
    settings: ResolvedSettings
    notes: tuple[str, ...]

    def mask(self, mask: np.ndarray, drags: Sequence[Drag] = ()) -> Tensor:
        """(H, W) of the picture as latent cells (1, 1, h, w), see `Frame.mask_to_model`."""
        return self.frame.mask_to_model(mask, drags, published=not self.settings.composite)


def frame_of(
    size: tuple[int, int],
    settings: Settings,
    drags: Sequence[Drag],
    mask: np.ndarray | None,
    native: int,
    multiple: int,
) -> Frame:
    """What part of a picture of `size` (height, width) is worked on, and how large.

    native: side of the square pictures that the model was made for; multiple: of what its sides must be.
    """
    crops = settings.crop == "auto"
    side = settings.resolution
    if side is None and (crops or size[0] * size[1] > NATIVE_PIXELS):
        side = native
    box = box_around(drags, mask, size) if crops else (0, 0, *size)
    return Frame.of(*size, multiple, pixels=None if side is None else side * side, box=box)


def place(
    size: tuple[int, int],
    settings: ResolvedSettings,
    drags: Sequence[Drag],
    mask: np.ndarray | None,
    native: int,
    multiple: int,
) -> Placement:
    """The frame of an edit, see `frame_of`, in which its drags are worth steps.

    A drag shorter than `reach_distance` has arrived before it began. Where neither crop nor resolution was asked for
    and that would end the edit at once, or comes from scaling the picture down, the part around the drags is worked on
    instead, at the model's size. Single short drags hold their points in place. Raises InputError where all are short.
    """
    frame = frame_of(size, settings, drags, mask, native, multiple)
    short = _too_short(frame, settings, drags)
    notes: list[str] = []
    cropped = type(settings)(**{**as_dict(settings), "crop": "auto", "resolution": None})
    closer = frame_of(size, cropped, drags, mask, native, multiple) if short else frame
    still = _too_short(closer, settings, drags)
    every = len(short) == sum(not drag.pins for drag in drags)
    helps = len(still) < len(short) if every else not still and not frame.is_whole
    if short and helps and settings.crop == "none" and settings.resolution is None:
        notes.append(
            f"{_apart(short[0])}, too near to be dragged with the whole picture in work, so only the part around "
            "the drags is worked on, enlarged (as with crop='auto', --crop auto)."
        )
        frame, settings, short = closer, cropped, still
    elif settings.crop == "none" and settings.resolution is None and not frame.is_whole:
        notes.append(
            f"The picture has {size[1]}x{size[0]} pixels; all of it is worked on at about {native}x{native} and "
            "enlarged again. crop='auto' (--crop auto) changes only the part around the drags."
        )
    reach = _reach(settings) * frame.pixels_per_cell
    moving = sum(not drag.pins for drag in drags)
    if short and len(short) == moving:
        longest = max(short, key=lambda drag: drag.length)
        way = ", or use crop='auto' (--crop auto)" if helps else ""
        raise InputError(
            f"{_apart(longest)}, and at this working size a point within {reach:.3g} px of its target counts as "
            f"arrived, so nothing would be dragged; drag farther or lower reach_distance (--reach-distance){way}."
        )
    if short:
        more = f" (and {len(short) - 1} more)" if len(short) > 1 else ""
        notes.append(
            f"{_apart(short[0])}{more}, within the reach_distance of {reach:.3g} px here, so it is held in place "
            "and not dragged."
        )
    return Placement(frame, settings, (*notes, *_point_notes(frame, drags, mask)))


def _point_notes(frame: Frame, drags: Sequence[Drag], mask: np.ndarray | None) -> list[str]:
    notes = []
    handles, targets = frame.to_grid(drags)
    first: dict[tuple[float, ...], int] = {}
    for index, handle in enumerate(handles):
        before = first.setdefault(tuple(handle), index)
        if before != index and not np.array_equal(targets[before], targets[index]):
            notes.append(
                f"The handles {show(drags[before].source)} and {show(drags[index].source)} are one point at this "
                "working size and are pulled to two targets; drop one, or use crop='auto' (--crop auto)."
            )
            break
    if mask is None:
        return notes
    share = float(np.mean(mask))
    if share >= SENSIBLE_SHARE:
        notes.append(
            f"The mask lets {100 * share:.0f} % of the picture change, which is nearly the whole; white may change and "
            "black is kept."
        )
    outside = {
        name: [point for point in points if not _inside(mask, point)]
        for name, points in (("handle", [d.source for d in drags]), ("target", [d.target for d in drags]))
    }
    for name, points in outside.items():
        if points:
            more = f" (and {len(points) - 1} more)" if len(points) > 1 else ""
            hint = "; is the mask inverted, or of another picture?" if len(points) == len(drags) else "."
            notes.append(f"The {name} {show(points[0])}{more} lies outside the mask, where nothing may change{hint}")
    return notes


def _too_short(frame: Frame, settings: ResolvedSettings, drags: Sequence[Drag]) -> list[Drag]:
    handles, targets = frame.to_grid(drags)
    left = np.linalg.norm(targets - handles, axis=1)
    # A start moves what it carries however short the way, and a pin is meant to stay.
    if settings.start != "none":
        return []
    return [drag for drag, distance in zip(drags, left) if distance < _reach(settings) and not drag.pins]


def _reach(settings: ResolvedSettings) -> float:
    # FreeDrag asks whether a point has arrived only after a round of updates; it needs no more than a way to go.
    return 1.0 if settings.method == "freedrag" else settings.reach_distance


def _inside(mask: np.ndarray, point: Point) -> bool:
    row, col = (min(round(v), side - 1) for v, side in zip(point[::-1], mask.shape))
    return bool(mask[row, col])


def _apart(drag: Drag) -> str:
    return f"The handle {show(drag.source)} and its target {show(drag.target)} are {drag.length:.3g} px apart"
