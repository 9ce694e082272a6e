"""What the networks learn from: scenes by number, packed for drawing, and the tokens of their captions."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from dragtext.sdk.evaluation.batches import Packed, draw_packed, pack
from dragtext.sdk.evaluation.scenes import CLOSE_SIZE, Scene, make_close_scene, make_scene
from torch import Tensor, nn
from words import token_row

VARIANTS = ((False, False), (True, False), (False, True), (True, True))  # of a caption: pose, places
SHARES = (0.3, 0.25, 0.2, 0.25)  # how often each is read
MAKERS: dict[str, Callable[[int], Scene]] = {"whole": make_scene, "close": make_close_scene}
SIDES = {"whole": 256, "close": CLOSE_SIZE}  # pixels
_CHUNK = 500

Pair = tuple[str, str]  # a colour and a figure


@dataclass
class Lesson:
    """Scenes of one kind. packed: what they are drawn from; centres: (n, 2) pixels, of their first toys; rows: (n, 4,
    77) int16, their captions' tokens, a row per variant; latents: (n, 4, h, w) float16, once they are encoded.
    """

    kind: str
    packed: Packed
    centres: Tensor
    rows: Tensor
    latents: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def pictures(self, index: slice) -> tuple[Tensor, Tensor]:
        """(n, 3, s, s) float32 of 0 to 255, and (n, 1, s, s) bool: where a toy is."""
        return draw_packed(self.packed[index], SIDES[self.kind])

    @torch.no_grad()
    def encode(self, autoencoder: nn.Module, batch: int) -> None:
        """Fill in the latents, the posterior's means."""
        parts = []
        for start in range(0, len(self), batch):
            pixels = self.pictures(slice(start, start + batch))[0] / 127.5 - 1
            pixels = pixels.contiguous(memory_format=torch.channels_last)
            parts.append(autoencoder.encode(pixels).latent_dist.mean.half())
        self.latents = torch.cat(parts)


def read_lesson(
    kind: str,
    count: int,
    ids: Mapping[str, int],
    device: torch.device,
    held_out: Collection[Pair] = (),
    first: int = 0,
) -> Lesson:
    """`count` scenes of a kind from number `first` on, but for those that show a pair that is held out."""
    ends = [(start, min(start + _CHUNK, first + count)) for start in range(first, first + count, _CHUNK)]
    prepare = partial(_prepare, kind, dict(ids), frozenset(held_out))
    with multiprocessing.get_context("fork").Pool(max(2, (multiprocessing.cpu_count() or 2) - 1)) as pool:
        parts = pool.map(prepare, ends, chunksize=1)
    arrays = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
    return Lesson(
        kind,
        Packed.of(arrays, device),
        torch.tensor(np.concatenate([part[1] for part in parts]), device=device),
        torch.tensor(np.concatenate([part[2] for part in parts]), device=device),
    )


def _prepare(
    kind: str, ids: dict[str, int], held_out: frozenset[Pair], ends: tuple[int, int]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    scenes = [MAKERS[kind](number) for number in range(*ends)]
    scenes = [s for s in scenes if not any((toy.colour, toy.figure) in held_out for toy in s.toys)]
    rows = np.stack([[token_row(scene.describe(*variant), ids) for variant in VARIANTS] for scene in scenes])
    centres = np.array([scene.toys[0].centre for scene in scenes], np.float32)
    return pack(scenes), centres, rows
