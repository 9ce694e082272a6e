"""What ways to fit the identity LoRA come to, and what they cost: the table behind `identity=quick`.

    python benchmarks/identity.py                        scenes, which the embedded model knows, and negatives of them
    python benchmarks/identity.py --pictures FOLDER      and photographs, scaled to 256 px, which it does not

error: mean squared error of the clean latent that the U-Net sees in one step, at 50, 150, ... 650, noise that no fit
drew. dB: of the picture after inversion and denoising (20 steps, strength 0.7, nothing shared), against what the
autoencoder alone makes of it. passes: copies that went through the U-Net, forwards and backwards.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from dragtext.sdk.evaluation.tasks import KINDS, drag_task, negative_task
from dragtext.sdk.model import identity
from dragtext.sdk.model.base import Conditioning, DiffusionModel
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.schedule import TimeGrid, alpha_bar, invert, to_epsilon_x0
from dragtext.sdk.model.taps import low_rank_adapter, projections
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.render.denoise import denoise
from dragtext.sdk.settings import ResolvedSettings, make_settings
from PIL import Image
from torch import Tensor

SIDE = 256
LEVELS = range(50, 700, 100)
COMMON = {"method": "dragdiffusion", "inference_steps": 20, "shared_attention": False}
WAYS: dict[str, dict[str, Any]] = {
    "none": {"lora_steps": 0},
    "published: 80 of 4": {"identity": "published"},
    "16 of 4, rate 2e-3": {"identity": "published", "lora_steps": 16, "lora_lr": 2e-3},
    "the same, the decoder only": {"identity": "published", "lora_steps": 16, "lora_lr": 2e-3, "only": "up_blocks"},
    "8 of 4, 4e-3": {"identity": "published", "lora_steps": 8, "lora_lr": 4e-3},
    "8 of 4, 4e-3, visited levels": {"lora_steps": 8, "lora_lr": 4e-3, "lora_batch": 4},
    "16 of 2, 2e-3, visited levels": {"lora_steps": 16, "lora_batch": 2},
    "28 of 1, 2e-3": {"identity": "published", "lora_steps": 28, "lora_lr": 2e-3, "lora_batch": 1},
    "28 of 1, 2e-3, visited levels": {"lora_steps": 28, "lora_lr": 2e-3},
    "quick: 20 of 1, 2e-3, visited levels": {},
    "20 of 1, 3e-3, visited levels": {"lora_lr": 3e-3},
    "40 of 1, 1e-3, visited levels": {"lora_steps": 40},
}


def settings_of(way: dict[str, Any]) -> ResolvedSettings:
    return make_settings({**COMMON, **{name: value for name, value in way.items() if name != "only"}}).resolve()


def fitted(model: DiffusionModel, latents: Any, text: Conditioning, way: dict[str, Any]) -> identity.IdentityWeights:
    """The LoRA of one of WAYS. only: of the projections whose path begins with it."""
    only = way.get("only", "")
    found: identity.IdentityWeights = {}

    def some(unet: Any) -> dict[str, Any]:
        return {path: layer for path, layer in projections(unet).items() if path.startswith(only)}

    with patch.object(identity, "projections", some):
        for weights in identity.fit(model, latents, text, settings_of(way)):
            found = weights
    return {path: (down.detach(), up.detach()) for path, (down, up) in found.items()}


def psnr(one: Tensor, other: Tensor) -> float:
    return float(-10 * (one - other).square().mean().log10())


@torch.no_grad()
def judged(model: DiffusionModel, clean: Tensor, text: Conditioning) -> tuple[float, float]:
    """error and dB, with whatever adapter is in place."""
    generator = torch.Generator().manual_seed(7)
    errors = []
    for timestep in LEVELS:
        abar = alpha_bar(model, timestep)
        noisy = abar**0.5 * clean + (1 - abar) ** 0.5 * torch.randn(clean.shape, generator=generator)
        _, seen = to_epsilon_x0(model.predict(noisy, timestep, text), noisy, abar, model.prediction_type)
        errors.append(float((seen - clean).square().mean()))
    settings = make_settings(COMMON).resolve()
    times = TimeGrid.of(settings.strength, settings.inference_steps)
    *_, inverted = invert(model, times, clean, text)
    *_, again = denoise(model, times, inverted, text, settings)
    return float(np.mean(errors)), psnr(model.decode(again), model.decode(clean))


def pictures(kind: str, count: int, folder: Path | None) -> Iterator[tuple[np.ndarray, str]]:
    """(256, 256, 3) uint8 with a prompt each."""
    if kind == "photographs":
        assert folder is not None  # or else nobody asked for them
        for path in sorted(folder.iterdir())[:count]:
            image = Image.open(path).convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            yield np.asarray(image), "a photograph"
        return
    for number in range(count):
        task = drag_task(number, KINDS[number % len(KINDS)]) if kind == "scenes" else negative_task(number)
        yield task.image, task.caption


def table(model: DiffusionModel, found: Iterator[tuple[np.ndarray, str]]) -> dict[str, list[float]]:
    """Means by way: error, dB, seconds."""
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in WAYS}
    for image, prompt in found:
        latents = model.encode_image(Frame.of(SIDE, SIDE, model.size_multiple).image_to_model(image))
        text = model.encode_text(prompt)
        for name, way in WAYS.items():
            begin = time.perf_counter()
            weights = fitted(model, latents, text, way)
            seconds = time.perf_counter() - begin
            with low_rank_adapter(model.unet, weights):
                rows[name].append((*judged(model, latents.mean, text), seconds))
    return {name: np.mean(values, axis=0).tolist() for name, values in rows.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=6, help="pictures of each kind")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    model = load_model(device="cpu", dtype=arguments.dtype)
    told: dict[str, dict[str, list[float]]] = {}
    for kind in ("scenes", "negatives", *(["photographs"] if arguments.pictures else [])):
        told[kind] = table(model, pictures(kind, arguments.count, arguments.pictures))
    if arguments.json:
        print(json.dumps(told))
        return
    heads = "".join(f" | {kind}: error | dB" for kind in told)
    print(f"\n| | passes{heads} | seconds |\n|---|---|{'---|---|' * len(told)}---|")
    for name, way in WAYS.items():
        settings = settings_of(way)
        cells = "".join(f" | {rows[name][0]:.4f} | {rows[name][1]:.1f}" for rows in told.values())
        seconds = np.mean([rows[name][2] for rows in told.values()])
        print(f"| {name} | {settings.lora_steps * settings.lora_batch}{cells} | {seconds:.1f} |")


if __name__ == "__main__":
    main()
