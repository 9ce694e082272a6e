"""What an edit takes of a graphics card's memory, by phase, with each of the means to take less.

    python benchmarks/memory.py                              computed on the meta device, nothing is allocated
    python benchmarks/memory.py --device cuda                measured, random weights, float16 and bfloat16
    python benchmarks/memory.py --models sd15 --sizes 512 --json

Full-size U-Nets, autoencoder and text encoders of Stable Diffusion 1.5 and SDXL. Computed: every tensor counts from
when it is made until nothing refers to it any more (`sdk/evaluation/allocations.py`); measured: torch's own peak. GiB,
all in: what lies on the card in that phase, weights and all. One unit of work of each phase.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from dragtext.sdk.drag import loop_of
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.evaluation.allocations import allocations
from dragtext.sdk.model.base import Conditioning, LatentDistribution
from dragtext.sdk.model.diffusers import DiffusersModel, networks, scaled_linear_alphas
from dragtext.sdk.model.identity import fit
from dragtext.sdk.model.means import NONE, Means, installed, phases
from dragtext.sdk.model.needs import outline
from dragtext.sdk.model.schedule import TimeGrid, invert
from dragtext.sdk.model.taps import low_rank_adapter, projections
from dragtext.sdk.model.transfer import Reading
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.render.denoise import denoise
from dragtext.sdk.request import Drag
from dragtext.sdk.settings import ResolvedSettings, make_settings

GIGABYTE = 2**30
TEXT = {"sd15": 768, "sdxl": 2048}
SIZES = {"sd15": (512, 768), "sdxl": (768, 1024)}
# By name, with how the LoRA is fitted; "all" is what memory="lean" does on a card.
MEANS = {
    "none": ("quick", NONE),
    "rest": ("quick", Means(rest=True)),
    "again": ("quick", Means(again=True)),
    "tiles": ("quick", Means(tiles=True)),
    "published LoRA": ("published", NONE),
    "published, one by one": ("published", Means(at_once=1)),
    "all": ("quick", Means(rest=True, again=True, tiles=True)),
}
COLUMNS = ("encode", "identity", "invert", "drag", "drag, mask", "denoise", "decode")


def make_networks(kind: str) -> list[Any]:
    """U-Net, autoencoder and text encoders, random, on the default device."""
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    # Their annotations know tuples of one stage only.
    new_vae: Any = diffusers.AutoencoderKL
    new_unet: Any = diffusers.UNet2DConditionModel

    first = CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
    vae = new_vae(
        sample_size=512,
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
    )
    if kind == "sd15":
        unet = new_unet(
            sample_size=64,
            cross_attention_dim=768,
            attention_head_dim=8,
            block_out_channels=(320, 640, 1280, 1280),
        )
        return [unet, vae, CLIPTextModel(first), None]
    unet = new_unet(
        sample_size=128,
        block_out_channels=(320, 640, 1280),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 10),
        cross_attention_dim=2048,
        attention_head_dim=(5, 10, 20),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    )
    second = CLIPTextConfig(
        hidden_size=1280,
        intermediate_size=5120,
        num_hidden_layers=32,
        num_attention_heads=20,
        projection_dim=1280,
        hidden_act="gelu",
    )
    return [unet, vae, CLIPTextModel(first), CLIPTextModelWithProjection(second)]


def make_model(kind: str, device: torch.device, dtype: torch.dtype) -> DiffusersModel:
    """Of full size; on a card with random weights, whose values decide nothing here."""
    with device:
        before, after = torch.get_default_dtype(), dtype if device.type != "meta" else torch.float32
        try:
            torch.set_default_dtype(after)  # made in float32 first, SDXL would take twice the room
            unet, vae, text, second = make_networks(kind)
        finally:
            torch.set_default_dtype(before)
    samples = [
        {name: torch.zeros(1, device="cpu") for name, _ in part.named_parameters()}
        for part in networks(unet, vae, text, second)
    ]
    return DiffusersModel(
        unet,
        vae,
        text,
        None,
        alphas_cumprod=scaled_linear_alphas(),
        prediction_type="epsilon",
        name=kind,
        device=device,
        dtype=dtype,
        samples=samples,
        text_encoder_2=second,
    )


def conditioning(model: DiffusersModel) -> Conditioning:
    fixed = {}
    if model.text_encoder_2 is not None:
        fixed = {
            "text_embeds": torch.zeros(1, 1280, device=model.device),
            "time_ids": torch.zeros(1, 6, device=model.device),
        }
    return Conditioning(torch.zeros(1, 77, TEXT[model.name], device=model.device), 10, fixed)


def make_problem(model: DiffusersModel, side: int, settings: ResolvedSettings, masked: bool) -> DragProblem:
    frame = Frame.of(side, side, model.size_multiple)
    handles, targets = frame.to_grid([Drag((side // 4, side // 4), (side // 2, side // 2))])
    return DragProblem(
        model=model,
        times=TimeGrid.of(0.7, 50),
        latent=torch.zeros(1, 4, *frame.latent, device=model.device),
        text=conditioning(model),
        handles=handles,
        targets=targets,
        grid=frame.grid,
        mask=torch.zeros(1, 1, *frame.latent, device=model.device) if masked else None,
        settings=settings,
    )


def works(model: DiffusersModel, side: int, identity: str, means: Means) -> dict[str, Callable[[], Any]]:
    """A unit of work of each phase."""
    settings = make_settings({"method": "dragdiffusion", "steps": 4, "identity": identity}).resolve()
    times, text = TimeGrid.of(0.7, 50), conditioning(model)
    latent = torch.zeros(1, 4, side // 8, side // 8, device=model.device)
    spread = LatentDistribution(latent, torch.zeros_like(latent))
    twice = text.with_tokens(text.tokens.expand(2, -1, -1))

    def adapted(work: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> None:
            weights = {
                path: (
                    torch.zeros(settings.lora_rank, layer.in_features, device=model.device),
                    torch.zeros(layer.out_features, settings.lora_rank, device=model.device),
                )
                for path, layer in projections(model.unet).items()
            }
            with low_rank_adapter(model.unet, weights):
                work()

        return run

    def two(loop: Iterator[Any]) -> None:
        for _, _ in zip(range(2), loop):
            pass

    def drag(masked: bool) -> Callable[[], Any]:
        return adapted(lambda: two(loop_of("dragdiffusion")(make_problem(model, side, settings, masked))))

    return {
        "encode": lambda: model.encode_image(torch.zeros(1, 3, side, side, device=model.device)),
        "identity": lambda: two(fit(model, spread, text, settings, means.at_once)),
        "invert": adapted(lambda: next(invert(model, times, latent, text))),
        "drag": drag(False),
        "drag, mask": drag(True),
        "denoise": adapted(lambda: two(denoise(model, times, latent.expand(2, -1, -1, -1), twice, settings))),
        "decode": lambda: model.decode(latent),
    }


def taken(_reading: Reading) -> dict[str, Any]:
    """What a loop reads of the meta device, where nothing is known: that it is to go on."""
    return {name: np.ones(shape) for name, shape in _reading._shapes.items()}


@contextmanager
def on_meta() -> Iterator[None]:
    """Loops go on without numbers."""
    with patch.object(Reading, "take", taken), patch.object(torch, "isfinite", torch.ones_like):
        yield


def computed(
    model: DiffusersModel, side: int, identity: str, means: Means, known: dict[tuple, int]
) -> dict[str, float]:
    """Bytes at most, by phase, counted. known: of what was counted before on this model at this size."""
    found = {}
    text, vae = about(model).companions
    there = about(model).unet + (0 if means.rest else text + vae)
    for phase, work in works(model, side, identity, means).items():
        # What does not touch a phase is not counted again for it; what rests lies elsewhere, and that is all.
        key = (
            phase,
            (identity, means.at_once) if phase == "identity" else None,
            means.again and phase in ("identity", "drag", "drag, mask"),
            means.tiles and phase in ("encode", "decode"),
        )
        if key not in known:
            with on_meta(), allocations() as count, installed(model, replace(means, rest=False)):
                work()
            known[key] = count.peak
            gc.collect()
        woken = vae if means.rest and phase in ("encode", "decode") else 0
        found[phase] = float(there + woken + known[key])
    return found


def measured(
    model: DiffusersModel, side: int, identity: str, means: Means, _known: dict[tuple, int]
) -> dict[str, float]:
    """Bytes at most, by phase, as torch's allocator tells them."""
    found = {}
    with installed(model, means):
        for phase, work in works(model, side, identity, means).items():
            try:
                torch.cuda.reset_peak_memory_stats(model.device)
                work()
                torch.cuda.synchronize(model.device)
                found[phase] = float(torch.cuda.max_memory_allocated(model.device))
            except torch.cuda.OutOfMemoryError:
                found[phase] = float("nan")
            gc.collect()
            torch.cuda.empty_cache()
    return found


def about(model: DiffusersModel) -> Any:
    known = outline(model)
    assert known is not None  # these are of a known kind
    return known


def estimated(model: DiffusersModel, side: int, identity: str, means: Means) -> float:
    """What an edit with a mask is said to need before it begins."""
    settings = make_settings({"method": "dragdiffusion", "identity": identity}).resolve()
    return float(max(phases(about(model), (side, side), settings, True, means).values()))


def row(values: dict[str, float]) -> str:
    return " | ".join(f"{values[name] / GIGABYTE:.2f}" if name in values else "" for name in COLUMNS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="meta", help="meta (computed) or cuda (measured)")
    parser.add_argument("--models", nargs="+", choices=tuple(SIZES), default=tuple(SIZES))
    parser.add_argument("--sizes", nargs="+", type=int, help="side in pixels [512 768 sd15, 768 1024 sdxl]")
    parser.add_argument("--dtypes", nargs="+", help="[float16 on meta, float16 bfloat16 on a card]")
    parser.add_argument("--means", nargs="+", choices=tuple(MEANS), default=tuple(MEANS))
    parser.add_argument("--seconds", type=float, default=180.0, help="begin no further row after that long, on a card")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    dtypes = arguments.dtypes or (["float16"] if device.type == "meta" else ["float16", "bfloat16"])
    begin, rows = time.perf_counter(), []
    count = computed if device.type == "meta" else measured
    for kind in arguments.models:
        for name in dtypes:
            model = make_model(kind, device, getattr(torch, name))
            facts = about(model)
            if not arguments.json:
                text, vae = facts.companions
                weights = [f"{part / GIGABYTE:.2f}" for part in (facts.unet, vae, text)]
                print(f"\n{kind}, {name}: U-Net {weights[0]}, autoencoder {weights[1]}, text {weights[2]} GiB\n")
                print(f"| | {' | '.join(COLUMNS)} | all in | said before |\n|{'---|' * (len(COLUMNS) + 3)}")
            for side in arguments.sizes or SIZES[kind]:
                known: dict[tuple, int] = {}
                for label in arguments.means:
                    identity, means = MEANS[label]
                    if device.type != "meta" and time.perf_counter() - begin > arguments.seconds:
                        continue
                    values = count(model, side, identity, means, known)
                    most, said = max(values.values()), estimated(model, side, identity, means)
                    facts_of_row = {"model": kind, "dtype": name, "size": side, "means": label}
                    rows.append({**facts_of_row, "bytes": values, "all": most, "said": said})
                    if not arguments.json:
                        ends = f"{most / GIGABYTE:.2f} | {said / GIGABYTE:.2f}"
                        print(f"| {side} px, {label} | {row(values)} | {ends} |", flush=True)
            del model
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
    if arguments.json:
        print(json.dumps({"device": str(device), "rows": rows, "seconds": time.perf_counter() - begin}))


if __name__ == "__main__":
    main()
