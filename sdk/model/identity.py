"""The identity LoRA: a low-rank adapter fitted to one image, so that the model knows its subject (ALGORITHMS 1.9)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..settings import ResolvedSettings
from .base import Conditioning, DiffusionModel, LatentDistribution
from .precision import loss_scale, not_finite
from .schedule import TRAIN_STEPS, TimeGrid
from .taps import low_rank_adapter, projections
from .transfer import Late, Reading, runs_ahead, send

# Path of a projection in the U-Net -> (down (rank, in), up (out, rank)), float32.
IdentityWeights = dict[str, tuple[Tensor, Tensor]]


def initial_weights(model: DiffusionModel, rank: int, generator: torch.Generator) -> IdentityWeights:
    """An adapter that does nothing yet: down drawn from N(0, 1/rank^2), up zero."""
    weights: IdentityWeights = {}
    for path, layer in projections(model.unet).items():
        # On the CPU, so that a seed means the same on every device.
        down = torch.randn((rank, layer.in_features), generator=generator, dtype=torch.float32, device="cpu") / rank
        up = torch.zeros((layer.out_features, rank), dtype=torch.float32, device="cpu")
        weights[path] = (
            down.to(model.device).requires_grad_(),
            up.to(model.device).requires_grad_(),
        )
    return weights


def levels(settings: ResolvedSettings) -> int:
    """Timesteps below this one are learnt: all of the model's, or those that the edit visits."""
    if settings.identity == "published":
        return TRAIN_STEPS
    return TimeGrid.of(settings.strength, settings.inference_steps).start + 1


def fit(
    model: DiffusionModel,
    latents: LatentDistribution,
    text: Conditioning,
    settings: ResolvedSettings,
    at_once: int | None = None,
) -> Generator[IdentityWeights, None, None]:
    """Train an adapter on one image, yielding the weights after every step; the last are the result.

    Noise-prediction MSE at uniform timesteps (see `levels`) on samples of the once-encoded posterior; AdamW with weight
    decay 0.01.
    latents: the image's posterior; text: its prompt. at_once: how many of a step's copies go through the U-Net side by
    side; by default all of them. Fewer take less memory and longer, and come to the same but for rounding.
    """
    generator = torch.Generator("cpu").manual_seed(settings.seed)
    weights = initial_weights(model, settings.lora_rank, generator)
    parameters = [tensor for pair in weights.values() for tensor in pair]
    optimiser = torch.optim.AdamW(parameters, lr=settings.lora_lr, weight_decay=1e-2)
    scale = loss_scale(model)
    losses: Late[Reading] = Late(runs_ahead(model.device))
    size = min(at_once or settings.lora_batch, settings.lora_batch)

    for _ in range(settings.lora_steps):
        clean = latents.sample(settings.lora_batch, generator)
        noise = torch.randn(clean.shape, generator=generator, dtype=torch.float32, device="cpu")
        noise = send(noise, clean.device)
        timesteps = torch.randint(0, levels(settings), (settings.lora_batch,), generator=generator, device="cpu")
        abar = send(model.alphas_cumprod[timesteps].float(), clean.device)[:, None, None, None]
        noisy = abar.sqrt() * clean + (1 - abar).sqrt() * noise
        wanted = noise
        if model.prediction_type == "v_prediction":
            wanted = abar.sqrt() * noise - (1 - abar).sqrt() * clean
        sent = send(timesteps, clean.device)
        loss, gradients = _gradients(model, weights, (noisy, sent, wanted), text, scale, size)
        _check(model, losses.put(Reading(loss=loss)))
        for parameter, gradient in zip(parameters, gradients):
            parameter.grad = gradient
            if scale != 1.0:
                # An overflow in half precision becomes a step without that element instead of a poisoned adapter.
                parameter.grad = torch.nan_to_num(gradient / scale, nan=0.0, posinf=0.0, neginf=0.0)
        optimiser.step()
        yield weights
    _check(model, losses.rest())


def _gradients(
    model: DiffusionModel,
    weights: IdentityWeights,
    batch: tuple[Tensor, Tensor, Tensor],
    text: Conditioning,
    scale: float,
    size: int,
) -> tuple[Tensor, Sequence[Tensor]]:
    """Loss of a batch (noisy, timesteps, wanted), and its gradients times `scale`, `size` items at a time."""
    parameters = [tensor for pair in weights.values() for tensor in pair]
    loss: Tensor | None = None
    gradients: Sequence[Tensor] = ()
    # The backward pass, too: what it computes again must meet the adapter.
    with low_rank_adapter(model.unet, weights):
        for noisy, timesteps, wanted in zip(*(part.split(size) for part in batch)):
            words = text.with_tokens(text.tokens.expand(len(noisy), -1, -1))
            part = torch.nn.functional.mse_loss(model.predict(noisy, timesteps, words), wanted)
            if len(noisy) < len(batch[0]):
                part = part * (len(noisy) / len(batch[0]))
            found = torch.autograd.grad(part * scale, parameters)
            part = part.detach()
            loss = part if loss is None else loss + part
            gradients = [old + new for old, new in zip(gradients, found)] if gradients else found
    assert loss is not None  # a batch has an item
    return loss, gradients


def _check(model: DiffusionModel, readings: Sequence[Reading]) -> None:
    """Raise ModelError where a loss is no number."""
    if not all(np.isfinite(reading.take()["loss"]) for reading in readings):
        raise not_finite(model, "The identity LoRA", "turn it off with --lora-steps 0")


def to_tensors(weights: IdentityWeights) -> dict[str, Tensor]:
    """Flat names for a safetensors file."""
    flat = {}
    for path, (down, up) in weights.items():
        flat[f"{path}.down"], flat[f"{path}.up"] = down.detach(), up.detach()
    return flat


def from_tensors(model: DiffusionModel, flat: dict[str, Tensor], rank: int) -> IdentityWeights | None:
    """Weights from a file, or None where they do not fit this U-Net."""
    weights: IdentityWeights = {}
    for path, layer in projections(model.unet).items():
        down, up = flat.get(f"{path}.down"), flat.get(f"{path}.up")
        if down is None or up is None:
            return None
        if down.shape != (rank, layer.in_features) or up.shape != (layer.out_features, rank):
            return None
        weights[path] = (down.to(model.device), up.to(model.device))
    return weights
