"""Many scenes at once, with torch on any device: for training. The pixels are those of `drawing.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .drawing import OUTLINE, OUTLINE_SHADE, SHADE, distance, is_shaded
from .figures import COLOURS, FIGURES, GROUNDS, GROUPS, PAINTS, tint
from .scenes import Scene

SLOTS = 2  # toys of a scene, at most
_NUMBERS = 5 + 2 * GROUPS  # centre, radius, angle, root of the aspect, shifts


class _Torch:
    """The functions that `drawing.distance` takes from numpy."""

    maximum, hypot, arctan2 = staticmethod(torch.maximum), staticmethod(torch.hypot), staticmethod(torch.arctan2)


@dataclass(frozen=True)
class Packed:
    """What n scenes are drawn from. figures (n, SLOTS) int64, -1 for none; colours (n, SLOTS) int64; numbers (n, SLOTS,
    13) float32; grounds (n, 5) float32: RGB, direction and strength of the shading.
    """

    figures: Tensor
    colours: Tensor
    numbers: Tensor
    grounds: Tensor

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray], device: torch.device | str = "cpu") -> Packed:
        return cls(**{name: torch.as_tensor(array).to(device) for name, array in arrays.items()})

    def __len__(self) -> int:
        return len(self.figures)

    def __getitem__(self, index: slice) -> Packed:
        return Packed(self.figures[index], self.colours[index], self.numbers[index], self.grounds[index])


def pack(scenes: Sequence[Scene]) -> dict[str, np.ndarray]:
    """The arrays of `Packed`, which travel between processes."""
    names, colours = tuple(FIGURES), tuple(COLOURS)
    packed = {
        "figures": np.full((len(scenes), SLOTS), -1, np.int64),
        "colours": np.zeros((len(scenes), SLOTS), np.int64),
        "numbers": np.zeros((len(scenes), SLOTS, _NUMBERS), np.float32),
        "grounds": np.zeros((len(scenes), 5), np.float32),
    }
    for i, scene in enumerate(scenes):
        packed["grounds"][i] = (*GROUNDS[scene.ground], *scene.shading)
        for k, toy in enumerate(scene.toys):
            packed["figures"][i, k], packed["colours"][i, k] = names.index(toy.figure), colours.index(toy.colour)
            packed["numbers"][i, k] = (*toy.centre, toy.radius, toy.angle, toy.aspect**0.5, *np.ravel(toy.shifts))
    return packed


@torch.no_grad()
def draw_packed(packed: Packed, size: int) -> tuple[Tensor, Tensor]:
    """(n, 3, S, S) float32 of whole numbers from 0 to 255, and (n, 1, S, S) bool: where a toy is."""
    device = packed.figures.device
    axis = torch.arange(size, device=device, dtype=torch.float32)
    y, x = axis[:, None].expand(size, size), axis[None, :].expand(size, size)
    grounds = packed.grounds[..., None, None]
    way, strength = grounds[:, 3], grounds[:, 4]
    image = grounds[:, :3] + (strength * (way.cos() * x + way.sin() * y) / size)[:, None]
    covered = torch.zeros(len(image), size, size, dtype=torch.bool, device=device)
    tints = {
        paint: torch.tensor(np.stack([tint(colour, paint) for colour in COLOURS]), device=device)
        for paint in ("base", "dark", "light", *PAINTS)
    }
    for slot in range(SLOTS):
        for number, figure in enumerate(FIGURES):
            index = (packed.figures[:, slot] == number).nonzero()[:, 0]
            if not len(index):
                continue
            numbers, colours = packed.numbers[index, slot][..., None, None], packed.colours[index, slot]
            image[index], covered[index] = _draw(figure, x, y, numbers, colours, tints, image[index], covered[index])
    return image.round().clamp(0, 255), covered[:, None]


def _draw(
    figure: str,
    x: Tensor,
    y: Tensor,
    numbers: Tensor,
    colours: Tensor,
    tints: Mapping[str, Tensor],
    pixels: Tensor,
    seen: Tensor,
) -> tuple[Tensor, Tensor]:
    """One figure onto (k, 3, S, S) pixels, and onto the (k, S, S) mask of what is covered. numbers: (k, 13, 1, 1)."""
    radius, angle, root = numbers[:, 2], numbers[:, 3], numbers[:, 4]
    dx, dy = (x - numbers[:, 0]) / radius, (y - numbers[:, 1]) / radius
    u, v = (dx * angle.cos() + dy * angle.sin()) / root, (dy * angle.cos() - dx * angle.sin()) * root
    for part in FIGURES[figure]:
        du, dv = numbers[:, 5 + 2 * part.group], numbers[:, 6 + 2 * part.group]
        inside_u, inside_v = (u - part.u - du) / part.half_width, (v - part.v - dv) / part.half_height
        away = distance(part, inside_u, inside_v, _Torch) * radius
        flat = tints[part.paint][colours][..., None, None]
        shade = (1 - SHADE * v.clamp(-1, 1))[:, None] if is_shaded(part) else 1.0
        pixels = pixels + (flat * OUTLINE_SHADE - pixels) * (0.5 - away).clamp(0, 1)[:, None]
        pixels = pixels + ((flat * shade).clamp(0, 255) - pixels) * (0.5 - (away + OUTLINE)).clamp(0, 1)[:, None]
        seen = seen | (away < 0)
    return pixels, seen


def draw_batch(scenes: Sequence[Scene], device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """`draw_packed` of scenes of one size."""
    return draw_packed(Packed.of(pack(scenes), device), scenes[0].size)
