"""One edit to be judged: what there was, what was asked for, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from PIL import Image

from ...errors import InputError
from ..movement import Movement, measure
from ..tasks import DragTask, Pair


@dataclass(frozen=True)
class Case:
    """An edit with its outcome.

    original: (H, W, 3) uint8 RGB. edited: the same after the edit; another size is brought to the original's, as the
        published evaluations do (Pillow, bilinear).
    drags: ((x0, y0), (x1, y1)) pixel pairs of the original.
    mask: (H, W), positive where the picture may change; None, or nothing positive in it, is no mask.
    prompt: of the original. task: of scenes, with the true answer.
    back: (H, W, 3) uint8, `edited` dragged back by `reversed_drags(drags)` with the same mask, prompt and settings, its
        identity LoRA fitted to `edited`; None where nobody did.
    """

    original: np.ndarray
    edited: np.ndarray
    drags: tuple[Pair, ...]
    mask: np.ndarray | None = None
    prompt: str = ""
    task: DragTask | None = None
    back: np.ndarray | None = None

    def checked(self) -> Case:
        """The same with pictures of one size and no empty mask. Raises InputError for what cannot be measured."""
        height, width = _size("original", self.original)
        for place in (place for pair in self.drags for place in pair):
            if not (0 <= place[0] <= width - 1 and 0 <= place[1] <= height - 1):
                raise InputError(
                    f"The point ({place[0]:g}, {place[1]:g}) lies outside the picture of {width} x {height} pixels; "
                    "give drags in pixels of the original."
                )
        if not self.drags:
            raise InputError("There is no drag to measure an edit by; give at least one.")
        mask = self.mask
        if mask is not None and np.shape(mask) != (height, width):
            raise InputError(f"The mask's shape is {np.shape(mask)}, but must be the original's, {(height, width)}.")
        mask = None if mask is None or not (np.asarray(mask) > 0).any() else np.asarray(mask) > 0
        edited, back = (None if p is None else _fitted(n, p, (height, width)) for n, p in self._results())
        return replace(self, edited=edited, mask=mask, back=back)

    def _results(self) -> tuple[tuple[str, np.ndarray | None], ...]:
        return ("edited", self.edited), ("back", self.back)

    @property
    def outside(self) -> np.ndarray | None:
        """(H, W) bool, where nothing should have changed; None without a mask, or where the mask covers everything."""
        if self.mask is None or (self.mask > 0).all():
            return None
        return ~(self.mask > 0)

    @cached_property
    def movement(self) -> Movement | None:
        """How the drag of known outcome went; None where the outcome is not known."""
        return None if self.task is None else measure(self.task, self.edited)


def reversed_drags(drags: Sequence[Pair]) -> tuple[Pair, ...]:
    """Each drag from its target to its handle: what drags an edited picture back."""
    return tuple((target, source) for source, target in drags)


def _size(name: str, picture: np.ndarray) -> tuple[int, int]:
    if getattr(picture, "ndim", 0) != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or not picture.size:
        shown = f"{getattr(picture, 'shape', type(picture).__name__)} {getattr(picture, 'dtype', '')}".strip()
        raise InputError(f"`{name}` is {shown}, but must be an (H, W, 3) uint8 array of RGB.")
    return picture.shape[0], picture.shape[1]


def _fitted(name: str, picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if _size(name, picture) == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR))
