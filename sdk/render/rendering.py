"""Any point on the way from the original picture to the edit, and beyond, without optimising again.

The paper says that optimised embeddings can be moved along; read here as `start + v * (end - start)` for the latent (or
bottleneck) and the text embedding (ALGORITHMS 6.8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..model.base import Conditioning, DiffusionModel
from ..model.exclusive import exclusive, plain_torch
from ..model.guidance import Guidance
from ..model.means import choose_for, installed
from ..model.memory import memory_errors, out_of_memory, release
from ..model.schedule import TimeGrid
from ..model.taps import low_rank_adapter
from ..picture.composing import Kept, compose
from ..picture.frame import Frame
from ..picture.reading import LoadedImage
from ..settings import ResolvedSettings
from .denoise import denoise

BATCH = 8  # pictures rendered side by side; more only cost memory
LIMIT = 100.0

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Rendering:
    """Both ends of an edit and what turns a point between them into a picture.

    level: index into the timesteps where the plain denoise takes over. latent_before, latent_after: (1, c, h, w)
    float32 at that level, of the original and of the edit. bottleneck: DragNoise's mid-block output, else None.
    text_before, text_after: (1, L, D). identity: the LoRA of the picture. original: (H, W, 3) uint8 as `profile`,
    an ICC profile or None for sRGB, means it; alpha, mask: (H, W) or None. kept: what a warped start has moved and no
    model needs to paint, at the edit itself (v = 1). fixed: what travels along with the tokens (`Conditioning.fixed`).
    against: the negative prompt, where the settings ask for guidance.
    All tensors lie on the CPU.
    """

    model: DiffusionModel | None  # None while a host has its model back; `with_model` lends it again
    settings: ResolvedSettings
    frame: Frame
    level: int
    latent_before: Tensor
    latent_after: Tensor
    bottleneck: Tensor | None
    text_before: Tensor
    text_after: Tensor
    identity: Mapping[str, tuple[Tensor, Tensor]]
    original: np.ndarray
    alpha: np.ndarray | None
    mask: np.ndarray | None
    profile: bytes | None = None
    kept: Kept | None = None
    fixed: Mapping[str, Tensor] = field(default_factory=dict)
    against: Conditioning | None = None

    @cached_property
    def picture(self) -> LoadedImage:
        """The original."""
        return LoadedImage.of_numbers(self.original, self.alpha, self.profile)

    def with_model(self, model: DiffusionModel | None) -> Rendering:
        """The same rendering on another instance of the same model, or on none, so that it keeps no model alive."""
        return replace(self, model=model)

    def at(self, v: float, text: float | None = None) -> Image.Image:
        """One picture. v: 0 is the original as the model reconstructs it, 1 the edit, between them less of it, beyond 1
        more, below 0 the opposite. text: another v for the embedding alone."""
        return self.sweep([(v, v if text is None else text)])[0]

    def sweep(self, values: Sequence[float | tuple[float, float]], on_step: OnStep | None = None) -> list[Image.Image]:
        """A picture for each v, or (v of the image, v of the text), rendered side by side.

        on_step: called with (steps done, steps in all). Waits while another thread works on the model; within an edit
        of the same thread, for instance in its `on_progress`, it raises ModelInUseError.
        """
        points = [check_point(value) for value in values]
        if not points:
            raise InputError("There is no v to render; give at least one number.")
        model = self.lent_model
        with memory_errors(), exclusive(model):
            items = min(len(points), BATCH) + self.settings.shared_attention
            choice = choose_for(model, self.frame.padded, self.settings, False, ("denoise", "decode"), items)
            with installed(model, choice.means):
                return self._drained(self.drawing(points), on_step)

    def compose(self, image: Tensor, v: float = 1.0) -> Image.Image:
        """(1, 3, H', W') in [0, 1], rendered at v, as a picture of the user's size, the original where the mask allows
        no change."""
        kept = self.kept if v == 1 else None
        mask = self.mask if self.settings.composite else None
        return compose(image, self.frame, self.picture, mask, kept, self.settings.seam)

    @property
    def total_steps(self) -> int:
        return len(self.times.timesteps) - self.level

    @property
    def times(self) -> TimeGrid:
        return TimeGrid.of(self.settings.strength, self.settings.inference_steps)

    def drawing(self, points: Sequence[tuple[float, float]]) -> Generator[tuple[int, int], None, list[Image.Image]]:
        """`sweep` as a generator of (steps done, steps in all) that returns the pictures. For who holds the model."""
        return self._drawing(points, self.compose)

    def _render(self, points: Sequence[tuple[float, float]]) -> list[Tensor]:
        """What the model makes of each point, (1, 3, H', W') in [0, 1]: what published pictures are compared with."""
        return self._drained(self._drawing(points, lambda image, _v: image), None)

    def _drained(self, drawing: Generator[tuple[int, int], None, list[Any]], on_step: OnStep | None) -> list[Any]:
        """What `drawing` returns; `on_step` runs with torch as the caller has set it."""
        device = self.lent_model.device
        with closing(drawing):
            while True:
                try:
                    with plain_torch(device):
                        done, total = next(drawing)
                except StopIteration as end:
                    return end.value
                if on_step:
                    on_step(done, total)

    def _drawing(
        self, points: Sequence[tuple[float, float]], finish: Callable[[Tensor, float], Any]
    ) -> Generator[tuple[int, int], None, list[Any]]:
        """`drawing`, with `finish` for what becomes of each decoded image."""
        model = self.lent_model
        device = model.device
        images: list[Any] = []
        size, begun = BATCH, 0  # steps of batches that were finished
        weights = {path: (down.to(device), up.to(device)) for path, (down, up) in self.identity.items()}
        with low_rank_adapter(model.unet, weights):
            while len(images) < len(points):
                batch = points[len(images) : len(images) + size]
                total = begun + self.total_steps * math.ceil((len(points) - len(images)) / size)
                try:
                    levels, latents = self._denoise(batch)
                    with closing(levels):
                        for done, level in enumerate(levels, start=1):
                            latents = level
                            yield begun + done, total
                    decoded = [
                        finish(model.decode(latent[None]), v) for latent, (v, _) in zip(latents[-len(batch) :], batch)
                    ]
                except (MemoryError, RuntimeError) as error:
                    if not out_of_memory(error) or len(batch) == 1:
                        raise
                    decoded = []
                if decoded:
                    images += decoded
                    begun += self.total_steps
                else:  # too many side by side
                    size = len(batch) // 2
                    levels = latents = level = None
                    release(device)
        return images

    def _denoise(self, points: Sequence[tuple[float, float]]) -> tuple[Any, Tensor]:
        """The steps of one batch, and the latents they begin with."""
        model = self.lent_model
        device = model.device
        # The reference goes first where the others attend to it, and is not needed elsewhere.
        shares = [*([(0.0, 0.0)] if self.settings.shared_attention else []), *points]
        image = torch.tensor([v for v, _ in shares], dtype=torch.float32, device=device).reshape(-1, 1, 1, 1)
        text = torch.tensor([v for _, v in shares], dtype=torch.float32, device=device).reshape(-1, 1, 1)
        before, after = self.latent_before.to(device), self.latent_after.to(device)
        latents = torch.lerp(before.expand(len(shares), -1, -1, -1), after.expand(len(shares), -1, -1, -1), image)
        start, end = (c.to(device).expand(len(shares), -1, -1) for c in (self.text_before, self.text_after))
        bottleneck = None if self.bottleneck is None else (self.bottleneck.to(device), image)
        words = Conditioning(start, fixed={name: value.to(device) for name, value in self.fixed.items()})
        words = words.with_tokens(torch.lerp(start, end, text))
        guidance = None
        if self.against is not None:
            guidance = Guidance.of(self.settings, self.times.start, self.against.to(device))
        levels = denoise(
            model,
            self.times,
            latents,
            words,
            self.settings,
            level=self.level,
            bottleneck=bottleneck,
            guidance=guidance,
        )
        return levels, latents

    @property
    def lent_model(self) -> DiffusionModel:
        if self.model is None:
            raise RuntimeError("this rendering has given its model back; use with_model first")
        return self.model


def check_point(value: Any) -> tuple[float, float]:
    """A number or a pair as (v of the image, v of the text). Raises InputError."""
    try:
        image, text = value if isinstance(value, (tuple, list)) else (value, value)
        point = float(image), float(text)
    except (TypeError, ValueError):
        raise InputError(f"v is {value!r}, but must be a number or a pair of numbers for image and text.") from None
    if not all(math.isfinite(v) and abs(v) <= LIMIT for v in point):
        raise InputError(f"v is {value!r}, but must lie between -{LIMIT:g} and {LIMIT:g}.")
    return point
