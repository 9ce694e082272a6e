"""How well the embedded model drags: unseen single-object scenes, judged by colour segmentation.

    python benchmarks/embedded_drags.py --count 20

Per scene: the fraction of the way that the object's centroid moved (1 is all the way), the overlap (intersection over
union) with where it should be, and the mean change outside the mask (images in [0, 1]). Then how many went beyond
half-way, the autoencoder's PSNR, and the PSNR of inversion and reconstruction without an edit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np
import torch
from dragtext import sdk
from dragtext.sdk.evaluation.centroid import measure
from dragtext.sdk.evaluation.scenes import DEMO_SETTINGS, FIRST_EVALUATION_SEED, DragTask, drag_task
from dragtext.sdk.frame import Frame
from dragtext.sdk.model.base import DiffusionModel
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert

FIRST_SEED = FIRST_EVALUATION_SEED + 1000  # not the scenes that `dragtext demo` shows


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Decibels between two uint8 images."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(np.float64) - other) ** 2)))


@torch.no_grad()
def reconstruction(model: DiffusionModel, task: DragTask) -> tuple[float, float]:
    """PSNR of the autoencoder alone, and after inversion and denoising."""
    frame = Frame.of(*task.image.shape[:2], multiple=model.size_multiple)
    clean = model.encode_image(frame.image_to_model(task.image).to(model.device)).mean
    text = model.encode_text(task.scene.caption).embedding
    times = TimeGrid.of(0.7, 50)
    *_, latent = invert(model, times, clean, text)
    for timestep in times.timesteps:
        latent = ddim_step(model, times, model.predict(latent, timestep, text), latent, timestep)
    decoded = [frame.image_from_model(model.decode(z)) for z in (clean, latent)]
    return psnr(task.image, decoded[0]), psnr(task.image, decoded[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--reconstructions", type=int, default=20, metavar="N", help="PSNR on the first N scenes [20]")
    parser.add_argument("--model", help="as for `dragtext edit` [the embedded model]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as JSON value")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    overrides = {name: json.loads(value) for name, value in (item.split("=", 1) for item in arguments.set)}
    model = sdk.load_model(arguments.model)
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.count):
        task = drag_task(seed)
        begin = time.perf_counter()
        result = sdk.Editor(model, task.image, task.scene.caption).drag(
            task.drags, mask=task.mask, **{**DEMO_SETTINGS, **overrides}
        )
        spent = time.perf_counter() - begin
        moved = measure(task, np.array(result.image))
        rows.append(
            {
                "seed": seed,
                "caption": task.scene.caption,
                "fraction": moved.fraction,
                "area_ratio": moved.area_ratio,
                "outside": moved.outside,
                "overlap": moved.overlap,
                "seconds": spent,
            }
        )
        if len(rows) <= arguments.reconstructions:
            rows[-1]["autoencoder_psnr"], rows[-1]["inversion_psnr"] = reconstruction(model, task)
        if not arguments.json:
            print(
                f"{seed}  {moved.fraction:6.2f} of the way  overlap {moved.overlap:.2f}  "
                f"outside {moved.outside:.3f}  {task.scene.caption}",
                flush=True,
            )
    summary = {
        "beyond_half": sum(row["fraction"] > 0.5 for row in rows),
        "count": len(rows),
        **{
            f"mean_{key}": statistics.fmean(row[key] for row in rows if key in row)
            for key in ("fraction", "overlap", "outside", "seconds", "autoencoder_psnr", "inversion_psnr")
            if any(key in row for row in rows)
        },
    }
    if arguments.json:
        print(json.dumps({**summary, "scenes": rows}))
        return
    print(f"{summary['beyond_half']} of {summary['count']} objects moved more than half of the way")
    for key, value in summary.items():
        if key.startswith("mean_"):
            print(f"{key:>22}  {value:.3f}")


if __name__ == "__main__":
    main()
