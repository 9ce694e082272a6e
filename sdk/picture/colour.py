"""Colour profiles: work is done in sRGB, and what is written means the same colours as what was read."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageCms

SAME = 2  # a profile that changes no colour by more levels than this is sRGB under another name
_FAILURES = (ImportError, OSError, ValueError, TypeError, AttributeError, KeyError, ImageCms.PyCMSError)


@dataclass(frozen=True)
class Colours:
    """rgb: (H, W, 3) uint8 sRGB. profile, own: what to write back and its numbers, see `LoadedImage`."""

    rgb: np.ndarray
    profile: bytes | None = None
    own: np.ndarray | None = None
    notes: tuple[str, ...] = ()


def read_colours(picture: Image.Image, profile: bytes | None) -> Colours:
    """The sRGB colours of a picture in mode L, RGB or CMYK, whose embedded ICC profile is `profile`.

    A profile of RGB numbers is kept and written back. Pictures of gray or CMYK become plain sRGB.
    """
    described, notes = None, ()
    if profile:
        try:
            described, space = _convert(picture, profile)
        except _FAILURES as error:
            reason = " ".join(str(error).split())[:120] or type(error).__name__
            notes = (f"The picture's colour profile cannot be used ({reason}); its numbers are taken as sRGB.",)
        else:
            if space == "RGB" and picture.mode != "CMYK":
                return _kept(np.array(picture.convert("RGB")), described, profile)
    if picture.mode == "CMYK":
        how = "by its profile" if described is not None else "without a profile, so its colours may shift"
        notes += (f"The picture is CMYK; it was converted to RGB {how} and is written as RGB.",)
    plain = np.array(picture.convert("RGB"))
    if described is None:
        return Colours(plain, notes=notes)
    if picture.mode == "L":
        if np.abs(described.astype(np.int16) - plain).max(initial=0) <= SAME:
            return Colours(plain, notes=notes)
        notes += ("The picture's gray profile was applied; it is written as sRGB.",)
    return Colours(described, notes=notes)


def to_srgb(numbers: np.ndarray, profile: bytes) -> np.ndarray | None:
    """(H, W, 3) uint8 of a profile's RGB numbers as sRGB; None where the profile is sRGB itself."""
    try:
        if _is_srgb(profile):
            return None
        return _convert(Image.fromarray(numbers), profile)[0]
    except _FAILURES:
        return None


def from_srgb(rgb: np.ndarray, profile: bytes) -> np.ndarray:
    """(H, W, 3) uint8 sRGB as the RGB numbers of a profile."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(Image.fromarray(rgb), ImageCms.createProfile("sRGB"), target)
    assert converted is not None  # not in place
    return np.array(converted)


def _kept(numbers: np.ndarray, described: np.ndarray, profile: bytes) -> Colours:
    """A picture of RGB numbers with a profile that goes back with it."""
    try:
        if _is_srgb(profile):
            return Colours(numbers, profile)
        from_srgb(described[:1, :1], profile)
    except _FAILURES:  # a profile of a scanner or a camera, which describes but cannot be written to
        return Colours(described, notes=("The picture's colour profile was applied; it is written as sRGB.",))
    return Colours(described, profile, numbers)


def _convert(picture: Image.Image, profile: bytes) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8 sRGB, and the colour space of the profile's numbers."""
    source: Any = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = str(getattr(source.profile, "xcolor_space", "")).strip()
    if space == "RGB" and picture.mode == "L":
        picture = picture.convert("RGB")
    if {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space) != picture.mode:
        raise ValueError(f"it describes {space} and not {picture.mode}")
    converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    assert converted is not None  # not in place
    return np.array(converted), space


def _is_srgb(profile: bytes) -> bool:
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    return bool(np.abs(_convert(Image.fromarray(lattice), profile)[0].astype(np.int16) - lattice).max() <= SAME)
