"""Seconds and peak memory per phase and per drag iteration, against the published loop in the same run.

    python benchmarks/iteration.py --size embedded
    python benchmarks/iteration.py --size sd15 --image-size 256 --json
    python benchmarks/iteration.py --size sd15 --device cuda      # float16

`sd15` is a randomly initialised U-Net of Stable Diffusion 1.5's size: speed does not depend on the weights' values. The
published loop is written out below in its plainest form: full forward, whole map enlarged, two backward passes, U-Net
weights that want gradients. The two loops take turns, and the ratios are medians over the pairs. On the CPU the
published loop computes in float32, which is all that its program does there; ours in what suits the processor (or in
what --dtype says).
"""

from __future__ import annotations

import argparse
import json
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dragtext.sdk.drag import LOOPS, dragdiffusion, loop_of
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.model.base import Conditioning, DiffusionModel
from dragtext.sdk.model.capture import Captures
from dragtext.sdk.model.identity import fit
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.memory import peak_memory, start_measuring
from dragtext.sdk.model.processor import bfloat16_gain, suited_to_processor
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert
from dragtext.sdk.model.taps import features_and_prediction
from dragtext.sdk.model.transfer import Reading
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.render.denoise import denoise
from dragtext.sdk.request import Drag
from dragtext.sdk.settings import make_settings
from torch.nn.functional import interpolate


def sd15_model(device: str, dtype: torch.dtype | None = None) -> DiffusionModel:
    """Random weights of Stable Diffusion 1.5's U-Net; the autoencoder is the embedded model's. dtype: by default what
    `load_model` takes."""
    from diffusers import UNet2DConditionModel
    from dragtext.sdk.model.diffusers import DiffusersModel
    from transformers import CLIPTextConfig, CLIPTextModel

    small = load_model(device=device)
    unet = UNet2DConditionModel(
        cross_attention_dim=768, attention_head_dim=8, block_out_channels=(320, 640, 1280, 1280)
    )
    # The U-Net wants texts of width 768; nothing measures the encoder, so one layer does.
    text_config = CLIPTextConfig(hidden_size=768, num_hidden_layers=1, num_attention_heads=12)
    return DiffusersModel(
        unet,
        small.vae,  # type: ignore[attr-defined]
        CLIPTextModel(text_config),
        small.tokenizer,  # type: ignore[attr-defined]
        alphas_cumprod=small.alphas_cumprod,
        prediction_type="epsilon",
        name="sd15-random",
        device=small.device,
        dtype=dtype or (suited_to_processor(unet) if small.device.type == "cpu" else small.dtype),
    )


def make_problem(
    model: DiffusionModel,
    size: int,
    masked: bool,
    text: bool,
    steps: int,
    method: str = "dragdiffusion",
    points: int = 1,
) -> DragProblem:
    generator = torch.Generator().manual_seed(0)
    frame = Frame.of(size, size, model.size_multiple)
    width = model.unet.config.cross_attention_dim  # type: ignore[union-attr]
    embedding = torch.randn(1, 77, width, generator=generator).to(model.device)  # type: ignore[arg-type]
    quarter = size // 4
    apart = quarter // 8
    drags = [Drag((quarter + apart * n, quarter), (3 * quarter, 3 * quarter - apart * n)) for n in range(points)]
    handles, targets = frame.to_grid(drags)
    mask = None
    if masked:
        array = np.zeros((size, size), np.uint8)
        array[: 3 * quarter, : 3 * quarter] = 1
        mask = frame.mask_to_model(array).to(model.device)
    settings = {"method": method, "steps": steps, "text": text, "lora_steps": 0}
    return DragProblem(
        model=model,
        times=TimeGrid.of(0.7, 50),
        latent=torch.randn(1, 4, *frame.latent, generator=generator).to(model.device),
        text=Conditioning(embedding, 10),
        handles=handles,
        targets=targets,
        grid=frame.grid,
        mask=mask,
        settings=make_settings(settings).resolve(),
    )


def published_iterations(problem: DragProblem) -> Iterator[None]:
    """DragDiffusion + DragText as published (ALGORITHMS 2, 6.2, 8), one yield per iteration."""
    model, settings, start = problem.model, problem.settings, problem.times.start
    radius, search = settings.supervision_radius, settings.tracking_radius
    model.unet.requires_grad_(True)
    latent = problem.latent.clone().requires_grad_()
    text = problem.text.tokens.clone().requires_grad_()
    optimisers = torch.optim.Adam([latent], settings.lr), torch.optim.Adam([text], settings.text_lr)

    def evaluate() -> tuple[torch.Tensor, torch.Tensor]:
        words = problem.text.with_tokens(text.clone())
        native, prediction = features_and_prediction(model, latent.clone(), start, words, settings.feature_block)
        enlarged = interpolate(native.float(), problem.grid, mode="bilinear", align_corners=False)
        return enlarged, ddim_step(model, problem.times, prediction, latent, start)

    with torch.no_grad():
        first, first_previous = evaluate()
    handle = problem.handles[0].astype(int)
    origin = first[0, :, handle[0], handle[1]]

    def motion(features: torch.Tensor, row: int, col: int, direction: np.ndarray) -> torch.Tensor:
        here = features[:, :, row - radius : row + radius + 1, col - radius : col + radius + 1].detach()
        wide = features[:, :, row - radius : row + radius + 2, col - radius : col + radius + 2]
        a, b = float(direction[0]), float(direction[1])
        ahead = (1 - a) * ((1 - b) * wide[..., :-1, :-1] + b * wide[..., :-1, 1:])
        ahead = ahead + a * ((1 - b) * wide[..., 1:, :-1] + b * wide[..., 1:, 1:])
        return (2 * radius + 1) ** 2 * (here - ahead).abs().mean()

    while True:
        features, previous = evaluate()
        with torch.no_grad():
            window = features[
                0, :, handle[0] - search : handle[0] + search + 1, handle[1] - search : handle[1] + search + 1
            ]
            best = (window - origin[:, None, None]).abs().sum(0).argmin().item()
            # Looked up as published, but not followed, so that every iteration does the same work.
            assert 0 <= best < (2 * search + 1) ** 2
        direction = problem.targets[0] - handle
        direction = direction / np.linalg.norm(direction)
        loss = motion(features, handle[0], handle[1], direction)
        if problem.mask is not None:
            loss = loss + settings.mask_weight * ((previous - first_previous) * (1 - problem.mask)).abs().sum()
        loss.backward(retain_graph=True)
        optimisers[0].step()
        optimisers[0].zero_grad()
        text_loss = motion(features.clone(), handle[0], handle[1], direction)
        rows = problem.text.content_length
        text_loss = text_loss + settings.text_weight * (problem.text.tokens - text)[:, :rows].abs().sum()
        text_loss.backward()
        optimisers[1].step()
        optimisers[1].zero_grad()
        yield


def captured_iterations(problem: DragProblem) -> Iterator[None]:
    return our_iterations(replace(problem, captures=Captures()))


def our_iterations(problem: DragProblem) -> Iterator[None]:
    problem.model.unet.requires_grad_(False)
    for parameter in problem.model.unet.parameters():
        parameter.grad = None
    for _ in dragdiffusion.steps(problem):
        yield


@contextmanager
def waits(device: torch.device) -> Iterator[list[int]]:
    """How often the host waits for the device in the block: reads of the loops and, on CUDA, all that torch knows of.

    On a CPU nothing waits; what would is found by `tests/test_waiting.py`.
    """
    found, take = [0], Reading.take

    def counted(reading: Reading) -> Any:
        found[0] += 1
        return take(reading)

    Reading.take = counted  # type: ignore[method-assign]
    mode = torch.cuda.get_sync_debug_mode() if device.type == "cuda" else 0
    try:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("warn")
            yield found
        found[0] += sum("synchroniz" in str(warning.message) for warning in seen)
    finally:
        Reading.take = take
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode(mode)


def waits_per_iteration(model: DiffusionModel, size: int, repeats: int) -> dict[str, float]:
    """By method and number of points, with a mask; without what is prepared before the first iteration."""
    model.unet.requires_grad_(False)  # type: ignore[union-attr]
    found = {}
    for method in LOOPS:
        for points in (1, 5):
            loop = loop_of(method)(make_problem(model, size, True, True, repeats + 2, method, points))
            next(loop)
            with waits(model.device) as count:
                made = sum(1 for _ in zip(range(repeats), loop))
            loop.close()
            found[f"{method}, {points}"] = count[0] / made
    return found


@contextmanager
def peak(device: torch.device) -> Iterator[list[int]]:
    """Peak bytes inside the block: allocated on CUDA, resident (sampled every 5 ms) on Linux, else of the process."""
    outcome = [0]
    start_measuring(device)
    status = Path("/proc/self/statm")
    if device.type == "cuda" or not status.exists():
        yield outcome
        outcome[0] = peak_memory(device)
        return
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.005):
            outcome[0] = max(outcome[0], int(status.read_text().split()[1]) * 4096)

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield outcome
    finally:
        done.set()
        thread.join()


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def in_turn(loops: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Seconds of each of the calls, which take turns."""
    times: dict[str, list[float]] = {kind: [] for kind in loops}
    for _ in range(repeats):
        for kind, work in loops.items():
            times[kind].append(seconds(work, device))
    return times


def against_published(
    model: DiffusionModel, plain: DiffusionModel, size: int, masked: bool, repeats: int
) -> dict[str, Any]:
    """Our loop on one model and the published one on the other, which may be the same: `repeats` iterations in turn,
    after one warm-up each that tells the peak."""
    makers = {"ours": our_iterations}
    if model.can_capture:
        makers["captured"] = captured_iterations
    makers["published"] = published_iterations
    models = {kind: plain if kind == "published" else model for kind in makers}
    loops, peaks = {}, {}
    for kind, make in makers.items():
        # Set-up and the first iteration. Ours comes first: the published loop leaves the weights' gradients behind.
        with peak(model.device) as bytes_used:
            loops[kind] = make(make_problem(models[kind], size, masked, True, steps=repeats + 2))
            next(loops[kind])
        peaks[kind] = bytes_used[0]

    def iterate(kind: str) -> None:
        models[kind].unet.requires_grad_(kind == "published")
        next(loops[kind])

    times = in_turn({kind: partial(iterate, kind) for kind in loops}, repeats, model.device)
    for loop in loops.values():
        loop.close()  # type: ignore[attr-defined]
    for parameter in plain.unet.parameters():
        parameter.grad = None
    return {
        "ratio": {
            kind: statistics.median(p / o for p, o in zip(times["published"], times[kind]))
            for kind in makers
            if kind != "published"
        },
        "seconds": {kind: statistics.median(values) for kind, values in times.items()},
        "peak_bytes": peaks,
    }


def measure(model: DiffusionModel, plain: DiffusionModel, size: int, repeats: int) -> dict[str, Any]:
    """plain: what the published loop runs on."""
    device = model.device
    results: dict[str, Any] = {"model": model.name, "image_size": size, "repeats": repeats, "device": str(device)}
    results["dtype"], results["published_dtype"] = (str(m.dtype).removeprefix("torch.") for m in (model, plain))
    if device.type == "cuda":
        results["card"] = torch.cuda.get_device_name(device)
    results["threads"] = torch.get_num_threads()
    for name, masked in (("no_mask", False), ("mask", True)):
        facts = against_published(model, plain, size, masked, repeats)
        results[name] = facts["ratio"]["ours"]
        if "captured" in facts["ratio"]:
            results[f"{name}_captured"] = facts["ratio"]["captured"]
        results[f"{name}_seconds"], results[f"{name}_peak_bytes"] = facts["seconds"], facts["peak_bytes"]

    pairs = 2 * repeats
    loops = {
        kind: our_iterations(make_problem(model, size, False, kind == "text", steps=pairs + 2))
        for kind in ("text", "plain")
    }
    for loop in loops.values():
        next(loop)  # set-up and warm-up
    times = in_turn({kind: partial(next, loop) for kind, loop in loops.items()}, pairs, device)
    results["text_overhead"] = statistics.median(a / b for a, b in zip(times["text"], times["plain"])) - 1
    results["phases"] = phases(model, size)
    results["waits_per_iteration"] = waits_per_iteration(model, size, repeats)
    return results


def phases(model: DiffusionModel, size: int) -> dict[str, dict[str, float]]:
    """Seconds per unit of work, and peak bytes, of the phases around the loop (two units each, the second counts)."""
    problem = make_problem(model, size, False, True, steps=2)
    settings = make_settings({"method": "dragdiffusion", "lora_steps": 2}).resolve()
    latents = model.encode_image(torch.zeros(1, 3, size, size, device=model.device))
    text = problem.text
    twice = torch.cat([problem.latent] * 2), text.with_tokens(torch.cat([text.tokens] * 2))
    work = {
        "identity step": fit(model, latents, text, settings),
        "inversion step": invert(model, problem.times, problem.latent, text),
        "denoise step": denoise(model, problem.times, *twice, settings),
    }
    found = {}
    for name, loop in work.items():
        with peak(model.device) as bytes_used:
            next(loop)
            spent = seconds(lambda loop=loop: next(loop), model.device)
            loop.close()  # type: ignore[attr-defined]
        found[name] = {"seconds": spent, "peak_bytes": bytes_used[0]}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=("embedded", "sd15"), default="embedded")
    parser.add_argument("--image-size", type=int, help="side in pixels [256 embedded, 512 sd15]")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), help="of our loop [the device's]")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    dtype = None if arguments.dtype is None else getattr(torch, arguments.dtype)

    def made(dtype: torch.dtype | None) -> DiffusionModel:
        if arguments.size == "embedded":
            return load_model(device=arguments.device, dtype=dtype)
        return sd15_model(arguments.device, dtype)

    model = made(dtype)
    plain = model if model.device.type != "cpu" or model.dtype == torch.float32 else made(torch.float32)
    size = arguments.image_size or {"embedded": 256, "sd15": 512}[arguments.size]
    results = measure(model, plain, size, arguments.repeats)
    if arguments.json:
        print(json.dumps(results))
        return
    print(
        f"{results['model']}, {size} px, {results.get('card', results['device'])}, {results['threads']} threads, "
        f"{results['dtype']}, published loop {results['published_dtype']}, medians of {arguments.repeats}"
    )
    if model.device.type == "cpu":
        print(f"bfloat16 is {bfloat16_gain():.2f} times as fast as float32 here")
    for name in ("no_mask", "mask"):
        spent, used = results[f"{name}_seconds"], results[f"{name}_peak_bytes"]
        print(
            f"{name:>8}: {spent['ours']:.3f} s per iteration, published loop {spent['published']:.3f} s, "
            f"{results[name]:.2f} times faster; peak {used['ours'] / 2**30:.2f} and {used['published'] / 2**30:.2f} GiB"
        )
        if "captured" in spent:
            print(
                f"{'captured':>8}: {spent['captured']:.3f} s, {results[f'{name}_captured']:.2f} times faster; "
                f"peak {used['captured'] / 2**30:.2f} GiB"
            )
    print(f"text optimisation costs {100 * results['text_overhead']:.1f} %")
    for name, facts in results["phases"].items():
        print(f"{name:>16}: {facts['seconds']:.3f} s, peak {facts['peak_bytes'] / 2**30:.2f} GiB")
    print("waits per iteration, by method and points:")
    for name, count in results["waits_per_iteration"].items():
        print(f"{name:>16}: {count:g}")


if __name__ == "__main__":
    main()
