"""Does the embedded model do its job? Unseen single-object scenes, dragged 30 to 60 px and measured by colour.

    python benchmarks/embedded_drags.py
    python benchmarks/embedded_drags.py --scenes 20 --json

Per scene: how much of the way the object's centroid moved (colour segmentation, `sdk.evaluation.centroid`). The bar is
more than half of the way in at least 12 of 20 scenes. Also the PSNR of the autoencoder alone, and of inversion followed
by an undragged denoise, both over the whole picture. Settings other than the demo's: --set lr=0.02 --set steps=80.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import numpy as np
from dragtext import sdk
from dragtext.sdk.evaluation.centroid import measure
from dragtext.sdk.evaluation.scenes import DEMO_SETTINGS, FIRST_EVALUATION_SEED, DragTask, drag_task
from dragtext.sdk.frame import Frame
from dragtext.sdk.model.base import DiffusionModel
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert

BAR = 12 / 20


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Decibels between two uint8 pictures of equal shape; infinite where they are equal."""
    error = np.mean((image.astype(np.float64) - other) ** 2)
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def reconstructions(model: DiffusionModel, task: DragTask) -> tuple[float, float]:
    """PSNR of the autoencoder, and of inversion to the drag's level and back (without identity LoRA)."""
    frame = Frame.of(*task.image.shape[:2], multiple=model.size_multiple)
    latent = model.encode_image(frame.image_to_model(task.image).to(model.device)).mean
    coded = frame.image_from_model(model.decode(latent))
    text = model.encode_text(task.scene.caption).embedding
    times = TimeGrid.of(0.7, 50)
    *_, level = invert(model, times, latent, text)
    for timestep in times.timesteps:
        level = ddim_step(model, times, model.predict(level, timestep, text), level, timestep)
    return psnr(coded, task.image), psnr(frame.image_from_model(model.decode(level)), task.image)


def measure_scene(model: DiffusionModel, seed: int, settings: dict[str, Any]) -> dict[str, Any]:
    task = drag_task(seed)
    coded, inverted = reconstructions(model, task)
    begin = time.perf_counter()
    result = sdk.Editor(model, task.image, task.scene.caption).drag(task.drags, mask=task.mask, **settings)
    seconds = time.perf_counter() - begin
    moved = measure(task, np.asarray(result.image.convert("RGB")))
    return {
        "seed": seed,
        "caption": task.scene.caption,
        "offset": task.offset,
        "points": len(task.drags),
        "fraction": moved.fraction,
        "distance_left": moved.distance_left,
        "area_ratio": moved.area_ratio,
        "outside": moved.outside,
        "tracker_left": float(np.mean([drag.distance_after for drag in result.drags])),
        "steps": result.steps,
        "seconds": seconds,
        "psnr_autoencoder": coded,
        "psnr_inversion": inverted,
    }


def summary(rows: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    beyond = sum(row["fraction"] > 0.5 for row in rows)
    return {
        "settings": settings,
        "scenes": len(rows),
        "beyond_half": beyond,
        "passed": beyond >= BAR * len(rows),
        "median_fraction": statistics.median(row["fraction"] for row in rows),
        "psnr_autoencoder": statistics.mean(row["psnr_autoencoder"] for row in rows),
        "psnr_inversion": statistics.mean(row["psnr_inversion"] for row in rows),
        "seconds": sum(row["seconds"] for row in rows),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model to load [the embedded one]")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="override a setting")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.scenes < 1:
        parser.error("--scenes must be at least 1")
    settings: dict[str, Any] = dict(DEMO_SETTINGS)
    for item in arguments.set:
        name, equals, value = item.partition("=")
        if not equals:
            parser.error(f"--set {item} has no value; write --set lr=0.03")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    model = sdk.load_model(arguments.model)
    rows = []
    for seed in range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + arguments.scenes):
        row = measure_scene(model, seed, settings)
        rows.append(row)
        if not arguments.json:
            print(
                f"{seed}  {100 * row['fraction']:5.0f} % of the way  area x{row['area_ratio']:.2f}  "
                f"outside {row['outside']:.3f}  tracker left {row['tracker_left']:4.0f} px  "
                f"{row['seconds']:4.0f} s  {row['caption']}",
                flush=True,
            )
    found = summary(rows, settings)
    if arguments.json:
        print(json.dumps(found))
        return
    verdict = "passed" if found["passed"] else "not passed"
    print(
        f"{found['beyond_half']} of {found['scenes']} beyond half-way (bar {BAR:.0%}: {verdict}), "
        f"median {100 * found['median_fraction']:.0f} %; autoencoder {found['psnr_autoencoder']:.1f} dB, "
        f"inversion and back {found['psnr_inversion']:.1f} dB; settings {settings}"
    )


if __name__ == "__main__":
    main()
