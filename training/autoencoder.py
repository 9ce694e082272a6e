"""The autoencoder's training: L1 and L2 with colour and toys weighted up, a pull to a small picture, a trace of KL."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from dragtext.sdk.evaluation.batches import draw_batch
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_scene
from lessons import Lesson
from muon import make_optimisers
from networks import SPREAD, new_autoencoder, settle
from norms import neutralise
from progress import Length, Run
from torch import Tensor
from torch.nn import functional

NEUTRAL = 3.0  # see norms.py
SCENES = 6000  # drawn once and kept as bytes
_WHOLE_FROM = 0.7  # of the schedule: then whole pictures, with their borders, and before it crops
_CROP = 128  # pixels
_UNSEEN = 64


def small_picture(pixels: Tensor) -> Tensor:
    """(n, 3, s / 8, s / 8): brightness and two colour differences of (n, 3, s, s) RGB, averaged over 8x8 pixels.

    What the first three latent channels are drawn to: a latent that is a small picture is easier for the U-Net. Colour
    is stretched, because few pixels have any.
    """
    mixed = torch.tensor([[0.5, 0.5, 0.5], [3.0, 0.0, -3.0], [-1.5, 3.0, -1.5]]).to(pixels)
    return torch.einsum("oc,nchw->nohw", mixed, functional.avg_pool2d(pixels, 8))


class Pictures:
    """Whole scenes drawn once. images: (n, 3, 256, 256) uint8; covers: (n, 1, 256, 256) bool; centres: (n, 2)."""

    def __init__(self, lesson: Lesson) -> None:
        count = min(SCENES, len(lesson))
        parts = [lesson.pictures(slice(start, min(start + 256, count))) for start in range(0, count, 256)]
        self.images = torch.cat([image.byte() for image, _ in parts])
        self.covers = torch.cat([cover for _, cover in parts])
        self.centres = lesson.centres[:count]

    def whole(self, count: int) -> tuple[Tensor, Tensor]:
        index = torch.randint(0, len(self.images), (count,), device=self.images.device)
        return self.images[index], self.covers[index]

    def close(self, count: int) -> tuple[Tensor, Tensor]:
        """Crops around something: most of a picture is plain ground."""
        device = self.images.device
        index = torch.randint(0, len(self.images), (count,), device=device)
        jitter = 48 * torch.rand(count, 2, device=device) - 24
        corner = (self.centres[index] - _CROP / 2 + jitter).clamp(0, 256 - _CROP).long()
        y, x = (corner[:, k : k + 1] + torch.arange(_CROP, device=device) for k in (1, 0))
        rows = index[:, None, None]
        picked = self.images.permute(0, 2, 3, 1)[rows, y[:, :, None], x[:, None, :]].permute(0, 3, 1, 2)
        return picked, self.covers[:, 0][rows, y[:, :, None], x[:, None, :]][:, None]


def train_autoencoder(
    pictures: Pictures, length: Length, batch: int, path: Path | None = None
) -> tuple[AutoencoderKL, list[tuple[int, float, float]]]:
    """Averaged weights, and the curve of the squared error. batch: of whole pictures; three times as many crops."""
    device = pictures.images.device
    model = new_autoencoder()
    neutralise(model, NEUTRAL)
    model = model.to(device, memory_format=torch.channels_last)
    run = Run(path, "autoencoder", model, make_optimisers(model, 3e-3, 2e-3), length, keep=0.995)
    while run.goes_on():
        whole = run.share > _WHOLE_FROM
        images, cover = pictures.whole(batch) if whole else pictures.close(3 * batch)
        pixels = (images.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        weight = 1 + 5 * cover.float()
        weight = weight / weight.mean()
        mean = model.encode(pixels).latent_dist.mean.float()
        decoded = model.decode(mean + SPREAD * torch.randn_like(mean)).sample.float()
        error = decoded - pixels
        # Brightness is learnt within seconds; colour lags far behind unless it counts more.
        chroma = error - error.mean(dim=1, keepdim=True)
        loss = (weight * (error.abs() + 4 * error.square() + 8 * chroma.square())).mean()
        loss = loss + 1e-6 * (0.5 * mean.square().sum((1, 2, 3)).mean())  # of the KL, what depends on the mean
        # Strong at first, when it shows the encoder the way and gives the decoder something to learn from.
        pull = 0.02 + 0.5 * max(0.0, 1 - run.share / 0.3)
        loss = loss + pull * (mean[:, :3] - small_picture(pixels)).square().mean()
        run.learn(loss, error.square().mean())
    settle(run.average)
    return run.average.eval(), run.curve


@torch.no_grad()
def quality(model: AutoencoderKL, device: torch.device) -> tuple[float, float]:
    """Mean and least PSNR in dB on unseen scenes, images in [0, 1]."""
    pixels = draw_batch([make_scene(FIRST_UNSEEN_SEED + i) for i in range(_UNSEEN)], device)[0] / 127.5 - 1
    decoded = torch.cat([model.decode(model.encode(p).latent_dist.mean).sample.clamp(-1, 1) for p in pixels.split(16)])
    psnr = -10 * ((decoded - pixels) / 2).square().mean((1, 2, 3)).log10()
    return float(psnr.mean()), float(psnr.min())


@torch.no_grad()
def latent_spread(model: AutoencoderKL, pictures: Pictures) -> tuple[Tensor, Tensor]:
    """(4,) mean and deviation of the latent's channels over up to 2048 pictures."""
    some = pictures.images[:2048].split(64)
    means = torch.cat([model.encode(images.float() / 127.5 - 1).latent_dist.mean for images in some])
    return means.mean((0, 2, 3)), means.std((0, 2, 3))
