"""From what a model made to the user's picture: pasted back, its transparency moved, in its own colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from ..settings import SEAM
from .colour import from_srgb
from .frame import Frame
from .reading import LoadedImage, to_pil
from .transparency import cut_out


@dataclass(frozen=True)
class Kept:
    """What stays of a picture that a model began with. picture: (H, W, 3) uint8 sRGB; painted: (H, W) float32, 0 to 1:
    where the model's picture is taken instead.
    """

    picture: np.ndarray
    painted: np.ndarray


def compose(
    image: Tensor,
    frame: Frame,
    original: LoadedImage,
    mask: np.ndarray | None,
    kept: Kept | None = None,
    seam: float = SEAM,
) -> Image.Image:
    """(1, 3, H', W') in [0, 1] as a PIL image of the user's size, mode and colour space.

    mask: (H, W), where the picture may change; None lets the whole box of `frame` change. Everything else keeps the
    bytes of `original`. seam: pixels, see `Frame.share`.
    """
    part, share = frame.part_from_model(image), frame.share(mask, seam)
    top, left, bottom, right = frame.box
    box = (slice(top, bottom), slice(left, right))
    whole = None if original.alpha is None else original.alpha.copy()
    if kept is not None:
        ground = kept.picture[box].astype(np.float32)
        part = np.rint(ground + kept.painted[box][..., None] * (part - ground)).astype(np.uint8)
    alpha = old = None if original.alpha is None else original.alpha[box]
    if old is not None and original.backdrop is not None:
        part, alpha = cut_out(part, original.visible[box], old, original.backdrop)
    if original.profile is not None and original.own is not None:
        part = from_srgb(part, original.profile)
    if share is None and alpha is None:
        return _finished(part, None, original)
    here = original.numbers[box]
    share = np.ones(part.shape[:2], np.float32) if share is None else share
    taken, left = share, 1 - share
    if old is not None and alpha is not None:  # a colour counts as far as it can be seen
        taken, left = taken * (alpha / np.float32(255)), left * (old / np.float32(255))
    weight = (taken / np.maximum(taken + left, 1e-6))[..., None]
    mixed = np.clip(np.rint(here + weight * (part.astype(np.float32) - here)), 0, 255)
    numbers = original.numbers.copy()
    numbers[box] = np.where(weight > 0, mixed, here).astype(np.uint8)
    if whole is not None and old is not None and alpha is not None:
        whole[box] = np.rint(old + share * (alpha.astype(np.float32) - old)).astype(np.uint8)
    return _finished(numbers, whole, original)


def _finished(numbers: np.ndarray, alpha: np.ndarray | None, original: LoadedImage) -> Image.Image:
    picture = to_pil(numbers, alpha)
    if original.profile is not None:
        picture.info["icc_profile"] = original.profile  # Pillow writes it, and other readers of the picture find it
    return picture
