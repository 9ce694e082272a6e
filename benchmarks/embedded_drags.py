"""How well each method drags with the embedded model: unseen single-object scenes, judged by colour segmentation.

    python benchmarks/embedded_drags.py --count 40                          # every method, with and without text
    python benchmarks/embedded_drags.py --count 20 --methods gooddrag --text on --length 30:60

Per variant, means over the scenes: the fraction of the way that the object's centroid moved (1 is all the way), how
many went beyond half-way, the distance left, how many kept their area (0.8 to 1.25), the overlap with where the object
should be, what remains of the difference to the true picture inside the mask, the change outside the mask widened by
8 px (images in [0, 1]), and seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from dragtext import sdk
from dragtext.sdk.command.demo import demo_settings
from dragtext.sdk.drag import METHODS
from dragtext.sdk.evaluation.centroid import measure
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.picture.drawing import contact_sheet
from dragtext.sdk.settings import make_settings
from PIL import Image

FIRST_SEED = FIRST_EVALUATION_SEED + 1000  # not the scenes that `dragtext demo` shows


def outside(image: np.ndarray, other: np.ndarray, mask: np.ndarray) -> float:
    """Mean absolute difference, images in [0, 1], more than 8 px outside the mask."""
    kept = cv2.dilate(mask, np.ones((17, 17), np.uint8)) == 0
    return float(np.abs(image.astype(np.float32) - other)[kept].mean() / 255)


def run(model: Any, method: str, text: bool, arguments: argparse.Namespace, overrides: dict[str, Any]) -> dict:
    rows: list[dict[str, Any]] = []
    pictures: list[np.ndarray] = []
    settings = make_settings({"text": text, **overrides}, demo_settings(method))
    low, high = (float(v) for v in arguments.length.split(":"))
    for seed in range(arguments.first, arguments.first + arguments.count):
        task = drag_task(seed, length=(low, high))
        editor = sdk.Editor(model, task.image, task.scene.caption)
        result = editor.drag(task.drags, mask=task.mask, settings=settings)
        pixels = np.array(result.image)
        moved = measure(task, pixels)
        rows.append(
            {
                "seed": seed,
                "caption": task.scene.caption,
                "fraction": moved.fraction,
                "distance_left": moved.distance_left,
                "area_ratio": moved.area_ratio,
                "overlap": moved.overlap,
                "remaining_error": moved.remaining_error,
                "outside": outside(task.image, pixels, task.mask),
                "seconds": sum(result.timings.values()),
                "steps": result.steps,
            }
        )
        pictures += [task.image, task.truth, pixels]
        if not arguments.json:
            print(
                f"{method} {'text' if text else '    '} {seed}  {moved.fraction:5.2f} of the way  overlap "
                f"{moved.overlap:.2f}  area {moved.area_ratio:.2f}  remaining {moved.remaining_error:.2f}",
                flush=True,
            )
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        labels = ["original", "true", method] * arguments.count
        sheet = contact_sheet(pictures[:1] + pictures[:36], ["", *labels[:36]], 6)
        name = f"{method}-{'text' if text else 'plain'}.png"
        Image.fromarray(sheet[pictures[0].shape[0] + 32 :]).save(arguments.pictures / name)
    names = ("fraction", "distance_left", "overlap", "remaining_error", "outside", "seconds", "steps")
    return {
        "method": method,
        "text": text,
        "count": len(rows),
        "beyond_half": sum(row["fraction"] > 0.5 for row in rows),
        "area_kept": sum(0.8 <= row["area_ratio"] <= 1.25 for row in rows),
        **{name: statistics.fmean(row[name] for row in rows) for name in names},
        "scenes": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="first scene's seed")
    parser.add_argument("--length", default="30:80", help="shortest and longest way in pixels [30:80]")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--text", choices=("both", "on", "off"), default="both")
    parser.add_argument("--model", help="as for `dragtext edit` [the embedded model]")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting, as JSON value")
    parser.add_argument("--pictures", type=Path, help="write contact sheets into this folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    overrides = {name: json.loads(value) for name, value in (item.split("=", 1) for item in arguments.set)}
    model = sdk.load_model(arguments.model)
    texts = {"both": (False, True), "on": (True,), "off": (False,)}[arguments.text]
    outcomes = [
        run(model, method, text, arguments, overrides) for method in arguments.methods.split(",") for text in texts
    ]
    if arguments.json:
        print(json.dumps(outcomes))
        return
    print("| method | text | of the way | beyond half | px left | area kept | overlap | remains | outside | seconds |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for o in outcomes:
        print(
            f"| {o['method']} | {'on' if o['text'] else 'off'} | {o['fraction']:.2f} | "
            f"{o['beyond_half']}/{o['count']} | {o['distance_left']:.1f} | {o['area_kept']}/{o['count']} | "
            f"{o['overlap']:.2f} | "
            f"{o['remaining_error']:.2f} | {o['outside']:.3f} | {o['seconds']:.1f} |"
        )


if __name__ == "__main__":
    main()
