"""Pixel modes: every depth and layout that Pillow knows, to eight bits of gray, RGB or CMYK, with alpha apart."""

from __future__ import annotations

import numpy as np
from PIL import Image

_CLIPPED = 16.0  # floats up to here are meant as 0..1: on a scale of 0..255 there would be nothing to see


def split_alpha(picture: Image.Image, deep_png: bool = False) -> tuple[Image.Image, np.ndarray | None, tuple[str, ...]]:
    """(picture in mode L, RGB or CMYK, alpha (H, W) uint8 or None, sentences for the user).

    deep_png: the picture comes from a PNG, where more than eight bits are always sixteen.
    """
    key = picture.info.get("transparency")
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.array(picture).astype(np.float64)
        gray, notes = _to_eight_bits(values, picture.mode, deep_png)
        alpha = np.where(values == key, 0, 255).astype(np.uint8) if isinstance(key, int) else None
        return Image.fromarray(gray), alpha, notes
    if picture.mode in ("LA", "La"):
        gray, alpha = np.moveaxis(np.array(picture.convert("LA")), 2, 0)
        return Image.fromarray(np.ascontiguousarray(gray)), np.ascontiguousarray(alpha), ()
    if picture.mode in ("PA", "RGBA", "RGBa") or key is not None:
        if isinstance(key, tuple) and max(key) > 255:  # the key of 48-bit RGB, whose high bytes Pillow has read
            picture = picture.copy()
            picture.info["transparency"] = tuple(part >> 8 for part in key)
        gray = picture.mode in ("1", "L")
        picture = picture.convert("RGBA")
        alpha = np.array(picture.getchannel("A"))
        return (picture.getchannel("R") if gray else picture.convert("RGB")), alpha, ()
    if picture.mode in ("L", "RGB", "CMYK"):
        return picture, None, ()
    return picture.convert("L" if picture.mode == "1" else "RGB"), None, ()


def _to_eight_bits(values: np.ndarray, mode: str, deep_png: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """(H, W) uint8 of any numbers. Without a declared range the smallest usual one that holds them is meant."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    most = float(values.max(initial=0))
    notes: tuple[str, ...] = ()
    if mode.startswith("I;16") or deep_png:
        full = 65535.0
    elif mode == "F" and 0 < most <= _CLIPPED:
        full = 1.0
        if most > 1:
            notes = ("The picture holds floats above 1; they were read as 0 to 1, and what is brighter became white.",)
    else:
        bits = max(8, 8 * int(np.ceil(np.log2(most + 1) / 8)))
        full = float(2 ** min(bits, 31) - 1)  # numbers of 32 bits are signed
    return np.clip(values * (255 / full), 0, 255).astype(np.uint8), notes
