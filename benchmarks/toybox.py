"""What the demonstration model and its drags are worth, on scenes whose true answer is known and that no training saw.

    python benchmarks/toybox.py                             # everything, with the model's own settings; 40 drags a kind
    python benchmarks/toybox.py --variants --count 12       # starts and loops compared on the same drags
    python benchmarks/toybox.py --json --pictures FOLDER    # the last line is one JSON object

The region that moves is found, not given; `pull` is a whole figure moved by one pull at its middle, without a mask.
PSNR in dB of images in [0, 1]. way: of the way that the figure's centroid went, or the part's own pixels; overlap:
intersection over union with the true place; area_kept: share of drags after which the area is 0.8 to 1.25 of the true
one; second_figures: share after which a piece of a quarter of the figure or more stands elsewhere; remains: difference
to the true picture inside the mask, over that of the untouched picture; outside: share of pixels changed outside the
mask. It ends with what is wanted, and what limits a number that is missed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from dragtext import sdk
from dragtext.sdk.evaluation.drawing import draw_scene, toy_mask
from dragtext.sdk.evaluation.metrics.change import psnr
from dragtext.sdk.evaluation.movement import Movement, measure
from dragtext.sdk.evaluation.recognise import recognise
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_scene
from dragtext.sdk.evaluation.statistics import bootstrap, paired
from dragtext.sdk.evaluation.suited import loop_settings
from dragtext.sdk.evaluation.tasks import KINDS, DragTask, drag_task
from dragtext.sdk.model.base import DiffusionModel
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert
from dragtext.sdk.picture.drawing import strip
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.settings import Settings
from PIL import Image

FRAME = Frame.of(256, 256)
GUIDANCE, PROMPT_STEPS = 3.0, 30
STRENGTH, STEPS = 0.7, 50  # of the inversion that is judged
# What is wanted: at least, or at most.
LEAST = {
    "autoencoder_psnr": 36, "inversion_psnr": 35, "inversion_psnr_inside": 29, "prompts_right": 0.9,
    "move.way": 0.95, "move.overlap": 0.85, "move.area_kept": 38 / 40, "part.way": 0.8,
}  # fmt: skip
MOST = {
    "move.second_figures": 1 / 40, "part.remains": 0.5, "rotate.remains": 0.4, "stretch.remains": 0.4, "outside": 0,
}  # fmt: skip
PULL = "pull"  # a "move" as somebody begins who only pulls: its first drag, no mask
Drawn = list[tuple[np.ndarray, str]]


def variants(kind: str) -> dict[str, Settings]:
    """What `--variants` compares: starts, the loop, and the loop behind a start, with and without text."""
    with_start = {"start": "warp", "repaint": "mask"}
    plain = {"inference_steps": 20, "shared_attention": False}
    return {
        "warp": sdk.Settings(method="warp", **plain),
        "warp, all painted": sdk.Settings(method="warp", repaint="mask", **plain),
        "warp, half noise": sdk.Settings(method="warp", start_noise=0.5, **plain),
        "cells": sdk.Settings(method="warp", start="cells", repaint="mask", **plain),
        "field": sdk.Settings(method="warp", start="field", repaint="mask", **plain),
        "loop, text": loop_settings("gooddrag", kind, text=True),
        "loop": loop_settings("gooddrag", kind, text=False),
        "warp and loop, text": loop_settings("gooddrag", kind, text=True, **with_start),
        "warp and loop": loop_settings("gooddrag", kind, text=False, **with_start),
    }


@torch.no_grad()
def reconstructions(model: DiffusionModel, count: int) -> tuple[dict[str, float], Drawn]:
    """The autoencoder alone, and inversion and denoising; also inside the masks of what is there."""
    names = ("autoencoder_psnr", "autoencoder_psnr_inside", "inversion_psnr", "inversion_psnr_inside")
    found: dict[str, list[float]] = {name: [] for name in names}
    pictures: Drawn = []
    times = TimeGrid.of(STRENGTH, STEPS)
    for number in range(count):
        scene = make_scene(FIRST_UNSEEN_SEED + number)
        image = draw_scene(scene)
        latent = model.encode_image(FRAME.image_to_model(image).to(model.device)).mean
        through = FRAME.part_from_model(model.decode(latent))
        text = model.encode_text(scene.describe(pose=True))
        for level in invert(model, times, latent, text):
            latent = level
        for timestep in times.timesteps:
            latent = ddim_step(model, times, model.predict(latent, timestep, text), latent, timestep)
        back = FRAME.part_from_model(model.decode(latent))
        toys = np.any([toy_mask(scene, k) for k in range(len(scene.toys))], axis=0).astype(np.uint8)
        inside = cv2.dilate(toys, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25))) > 0  # as a mask is painted
        values = (
            psnr(image, through), psnr(image, through, inside), psnr(image, back), psnr(image, back, inside),
        )  # fmt: skip
        for name, value in zip(found, values):
            found[name].append(value)
        pictures += [(image, "scene"), (back, f"inverted and back, {values[2]:.1f} dB")]
    return {name: float(np.mean(values)) for name, values in found.items()}, pictures


@torch.no_grad()
def prompts(model: DiffusionModel, count: int) -> tuple[float, Drawn]:
    """Share of captions of a single toy after which the picture shows the right figure in the right colour."""
    right = 0
    pictures: Drawn = []
    times = TimeGrid.of(1.0, PROMPT_STEPS)
    none = model.encode_text("")
    for number in range(count):
        scene = make_scene(FIRST_UNSEEN_SEED + 20_000 + number, count=1)
        caption = scene.describe()
        words = none.with_tokens(torch.cat([model.encode_text(caption).tokens, none.tokens]))
        noise = torch.randn((1, 4, *FRAME.latent), generator=torch.Generator().manual_seed(number))
        latent = noise.to(model.device)
        for timestep in times.timesteps:
            given, without = model.predict(latent.expand(2, -1, -1, -1), timestep, words).chunk(2)
            guided = without + GUIDANCE * (given - without)
            latent = ddim_step(model, times, guided, latent, timestep)
        image = FRAME.part_from_model(model.decode(latent))
        (toy,) = scene.toys
        seen = recognise(image)
        right += seen == (toy.colour, toy.figure)
        pictures.append((image, f"{toy.colour} {toy.figure}: {' '.join(seen or ('nothing',))}"))
    return right / count, pictures


def drags(
    model: DiffusionModel, kind: str, count: int, settings: Settings | None
) -> Iterator[tuple[DragTask, Movement, np.ndarray, dict[str, float]]]:
    """Each task of a kind, how it went, the picture, and seconds by phase."""
    for number in range(count):
        task = drag_task(number, "move" if kind == PULL else kind)
        asked = (task.drags[:1], None) if kind == PULL else (task.drags, task.mask)
        editor = sdk.Editor(model, task.image, task.caption)
        result = editor.drag(asked[0], mask=asked[1], settings=settings)
        pixels = np.array(result.image)
        yield task, measure(task, pixels), pixels, result.timings


def summary(kind: str, moved: Sequence[Movement]) -> dict[str, float]:
    """The means that say most about a kind."""

    def mean(value: Callable[[Movement], Any]) -> float:
        return round(float(np.mean([value(one) for one in moved])), 4)

    facts = {"remains": mean(lambda one: one.remaining_error)}
    if kind in ("move", PULL):
        facts = {
            "way": mean(lambda one: one.fraction),
            "overlap": mean(lambda one: one.overlap),
            "area_kept": mean(lambda one: one.area_kept),
            "second_figures": mean(lambda one: one.second_figure),
            **facts,
        }
    elif kind == "part":
        facts = {"way": mean(lambda one: one.part_fraction), **facts}
    return facts


def compare(model: DiffusionModel, kinds: Sequence[str], count: int) -> dict[str, Any]:
    """Every variant on the same drags, and paired differences to the first."""
    report: dict[str, Any] = {}
    for kind in kinds:
        first: list[float] = []
        for name, settings in variants(kind).items():
            began = time.perf_counter()
            moved = [one for _, one, _, _ in drags(model, kind, count, settings)]
            remains = [one.remaining_error for one in moved]
            first = first or remains
            facts = summary(kind, moved)
            report[f"{kind}: {name}"] = {**facts, "seconds": (time.perf_counter() - began) / count}
            less = paired(first, remains)
            others = "  ".join(f"{key} {value:.2f}" for key, value in facts.items() if key != "remains")
            print(f"{kind:8} {name:20} remains {bootstrap(remains)}  less the first's {less}  {others}", flush=True)
    return report


def own_settings(model: DiffusionModel, kinds: Sequence[str], count: int) -> tuple[dict[str, Any], Drawn]:
    """The drags with the settings that come with the model."""
    report: dict[str, Any] = {}
    pictures: Drawn = []
    outside, seconds = [], []
    for kind in kinds:
        moved = []
        for task, one, pixels, timings in drags(model, kind, count, None):
            moved.append(one)
            if kind != PULL:  # whose mask follows from what is found
                outside.append(one.outside)
            seconds.append(sum(timings.values()))
            if len(moved) <= 8:
                pictures += [(task.image, kind), (task.truth, "truth"), (pixels, f"{one.remaining_error:.2f} remains")]
        report[kind] = summary(kind, moved)
        print(kind, report[kind], f"{np.mean(seconds[-count:]):.1f} s a drag", flush=True)
    if outside:
        report["outside"] = float(np.mean(outside))
    report["seconds"] = round(float(np.mean(seconds)), 2)
    return report, pictures


def against_the_bars(report: dict[str, Any]) -> Iterator[str]:
    """A line for each number that is wanted and was measured, and what limits one that is missed."""
    for name, bar, is_least in [*((n, b, True) for n, b in LEAST.items()), *((n, b, False) for n, b in MOST.items())]:
        kind, _, fact = name.rpartition(".")
        value = (report.get(kind, {}) if kind else report).get(fact)
        if value is None:
            continue
        met = value >= bar if is_least else value <= bar
        wanted = f"{'at least' if is_least else 'at most'} {bar:.3g}"
        line = f"{'met   ' if met else 'MISSED'} {name} {value:.3g}, wanted {wanted}"
        if not met and name == "inversion_psnr_inside":
            line += f"; the autoencoder alone reaches {report['autoencoder_psnr_inside']:.1f} there"
        yield line


def save_sheet(path: Path, pictures: Drawn, columns: int) -> None:
    rows = [strip(*zip(*pictures[first : first + columns])) for first in range(0, len(pictures), columns)]
    widest = max(row.shape[1] for row in rows)
    rows = [np.pad(row, ((0, 6), (0, widest - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    Image.fromarray(np.vstack(rows)).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="another model folder than the embedded one")
    parser.add_argument("--count", type=int, default=40, help="drags of each kind")
    parser.add_argument("--kinds", default=",".join((*KINDS, PULL)))
    parser.add_argument("--scenes", type=int, default=16, help="scenes through the autoencoder and the inversion")
    parser.add_argument("--prompts", type=int, default=100)
    parser.add_argument("--variants", action="store_true", help="compare starts and loops instead of all the rest")
    parser.add_argument("--pictures", type=Path, help="folder for sheets of what was made")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on a line")
    arguments = parser.parse_args()
    model = sdk.load_model(arguments.model)
    kinds = arguments.kinds.split(",")
    sheets: dict[str, tuple[Drawn, int]] = {}
    report: dict[str, Any] = {}
    if arguments.variants:
        report = compare(model, [kind for kind in kinds if kind != PULL], arguments.count)
    else:
        if arguments.scenes:
            facts, pictures = reconstructions(model, arguments.scenes)
            print({name: round(value, 2) for name, value in facts.items()}, flush=True)
            report |= facts
            sheets["reconstructions.png"] = (pictures, 8)
        if arguments.prompts:
            report["prompts_right"], pictures = prompts(model, arguments.prompts)
            print("prompts right", report["prompts_right"], flush=True)
            sheets["prompts.png"] = (pictures, 10)
        facts, pictures = own_settings(model, kinds, arguments.count)
        report |= facts
        sheets["drags.png"] = (pictures, 6)
        print("\n".join(against_the_bars(report)), flush=True)
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        for name, (pictures, columns) in sheets.items():
            save_sheet(arguments.pictures / name, pictures, columns)
    if arguments.json:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
