"""Transparency: what stands behind it while a model works, and how it moves with a cut-out that is dragged."""

from __future__ import annotations

import cv2
import numpy as np

TRANSPARENT, OPAQUE = 8, 247  # alpha up to and from here is taken as all or nothing
# Tried in this order: neutral ones first, since a model knows them as backgrounds and they colour no edge.
_BACKDROPS = ((255, 255, 255), (128, 128, 128), (0, 0, 0), (0, 160, 64), (200, 0, 200), (0, 96, 255))
_CLEAR = 96  # levels by which a backdrop should differ from what stands before it
_SAME, _CHANGED = 12.0, 36.0  # levels; a model's own reconstruction is off by less than the first almost everywhere
_EMPTY, _FULL = 20.0, 72.0  # levels by which what is not there, and what is wholly there, differ from the backdrop
_EDGE = 3  # pixels over which an edge of something cut out is soft


def is_cutout(alpha: np.ndarray) -> bool:
    """Whether alpha (H, W) uint8 cuts a subject out of an empty ground, rather than letting a picture shine through."""
    empty, full = float((alpha <= TRANSPARENT).mean()), float((alpha >= OPAQUE).mean())
    return empty >= 0.01 and full > 0 and empty + full >= 0.5


def backdrop(rgb: np.ndarray, alpha: np.ndarray) -> tuple[int, int, int]:
    """The colour for behind a cut-out that is clearly none of its own."""
    own = rgb[alpha > TRANSPARENT]
    own = own[:: max(1, len(own) // 100_000)].astype(np.int16)
    clear = [float(np.percentile(np.abs(own - colour).max(axis=1), 5)) for colour in _BACKDROPS]
    first = next((index for index, least in enumerate(clear) if least >= _CLEAR), int(np.argmax(clear)))
    return _BACKDROPS[first]


def fill_behind(rgb: np.ndarray, alpha: np.ndarray, behind: tuple[int, int, int] | None) -> np.ndarray:
    """(H, W, 3) uint8 without the colours that transparency hides.

    behind: a colour for the picture to be laid on; None repeats the nearest visible colour where nothing is visible.
    """
    if behind is not None:
        share = alpha[..., None].astype(np.float32) / 255
        return np.rint(rgb * share + np.array(behind, np.float32) * (1 - share)).astype(np.uint8)
    hidden = alpha == 0
    if not hidden.any():
        return rgb
    if hidden.all():
        return np.full_like(rgb, 128)
    _, labels = cv2.distanceTransformWithLabels(hidden.astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    colours[labels[~hidden]] = rgb[~hidden]
    filled = rgb.copy()
    filled[hidden] = colours[labels[hidden]]
    return filled


def cut_out(
    edited: np.ndarray, before: np.ndarray, alpha: np.ndarray, behind: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Colours (h, w, 3) and alpha (h, w), uint8, of an edited cut-out.

    edited, before: (h, w, 3) uint8, both on the colour `behind`; alpha: (h, w), of before. Where the edit changed
    nothing to speak of, alpha stays. Elsewhere it follows from how far the edited picture differs from the backdrop:
    the ground that a subject left becomes transparent, and where it went opaque.
    """
    ground = np.array(behind, np.float32)
    new = edited.astype(np.float32)
    changed = cv2.blur(np.abs(new - before).max(axis=2), (3, 3))
    follows = np.clip((changed - _SAME) / (_CHANGED - _SAME), 0, 1)
    differs = cv2.blur(np.abs(new - ground).max(axis=2), (3, 3))
    # Only near empty ground can something be half there; inside, a pale colour is no glass.
    empty = (differs < _EMPTY).astype(np.uint8)
    near = cv2.dilate(empty, np.ones((2 * _EDGE + 1, 2 * _EDGE + 1), np.uint8)) > 0
    full = np.maximum(_FULL, cv2.dilate(differs, np.ones((2 * _EDGE + 1, 2 * _EDGE + 1), np.uint8)))
    matte = np.where(near, np.clip((differs - _EMPTY) / (full - _EMPTY), 0, 1), 1)
    share = (1 - follows) * (alpha.astype(np.float32) / 255) + follows * matte
    # What shines through at an edge is the backdrop, which has to be taken out of its colour.
    colours = np.where(share[..., None] > 0.02, ground + (new - ground) / np.maximum(share, 0.02)[..., None], new)
    return np.clip(np.rint(colours), 0, 255).astype(np.uint8), np.rint(share * 255).astype(np.uint8)
