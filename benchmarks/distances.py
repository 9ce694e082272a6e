"""What mean distances say of pictures whose answer is known, and what they cost.

    python benchmarks/distances.py --count 8                       # the embedded model's features
    python benchmarks/distances.py --model stabilityai/stable-diffusion-2-1
    python benchmarks/distances.py --search 512                    # the search alone, ours and with enlarged maps

On whole figures that are moved (`sdk/evaluation/tasks.py`): the true picture, which should get 0; the picture half-way,
which should get half of the way; and the untouched one, which should get all of it. In pixels; MD2 in percent of the
sides. Seconds are the processor's, for the features of one picture and the search of its drags.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from dragtext.sdk.evaluation.drawing import draw_scene
from dragtext.sdk.evaluation.metrics import METRICS, Case, Tools, measure_edit
from dragtext.sdk.evaluation.metrics.distance import DEFINITIONS
from dragtext.sdk.evaluation.metrics.matching import FeatureField, closest
from dragtext.sdk.evaluation.statistics import bootstrap
from dragtext.sdk.evaluation.tasks import DragTask, drag_task
from torch.nn.functional import cosine_similarity, interpolate

STATES = ("the truth", "half-way", "untouched")


def pictures(task: DragTask) -> tuple[np.ndarray, ...]:
    """The task's picture in each of the STATES."""
    (toy,) = task.scene.toys
    x, y = (place + way / 2 for place, way in zip(toy.centre, task.offset))
    half = draw_scene(replace(task.scene, toys=(replace(toy, centre=(x, y)),)))
    return task.truth, half, task.image


def rows(names: Sequence[str], count: int, tools: Tools) -> Iterator[str]:
    """Of a table in Markdown, each as it is done."""
    yield f"| | {' | '.join(STATES)} | as asked | seconds |"
    yield "|---|---|---|---|---|---|"
    tasks = [drag_task(number, "move") for number in range(count)]
    for name in names:
        values: list[list[float]] = [[] for _ in STATES]
        began = time.process_time()
        for task in tasks:
            case = Case(task.image, task.image, task.drags, task.mask, task.caption)
            for found, edited in zip(values, pictures(task)):
                found.append(measure_edit(replace(case, edited=edited), [name], tools)[name])
        spent = (time.process_time() - began) / (count * (1 + len(STATES)))
        asked = float(np.mean([_asked(task, name) for task in tasks]))
        cells = " | ".join(f"{bootstrap(found):.1f}" for found in values)
        yield f"| `{name}` | {cells} | {asked:.1f} | {spent:.1f} |"


def _asked(task: DragTask, name: str) -> float:
    """The way in the definition's unit."""
    sides = task.image.shape[1::-1] if DEFINITIONS[name].relative else (100, 100)
    return float(np.hypot(*(100 * np.array(task.offset) / sides)))


def search(side: int, drags: int = 4, channels: int = 1280) -> Iterator[str]:
    """Seconds of the search in a square picture, at Stable Diffusion 2.1's width, and whether the places agree."""
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, channels, side // 16, side // 16)).astype(np.float32)
    places = [(int(row), int(col)) for row, col in rng.integers(0, side, (drags, 2))]
    began = time.process_time()
    before, after = (FeatureField(each, (side, side)) for each in maps)
    found = closest(before, places, after, (side, side))
    yield f"{time.process_time() - began:.2f} s"
    began = time.process_time()
    first, second = (interpolate(torch.from_numpy(each)[None], (side, side), mode="bilinear") for each in maps)
    for (row, col), place in zip(places, found):
        alike = cosine_similarity(first[:, :, row, col, None, None], second)
        agrees = int(alike.argmax()) == place[0] * side + place[1]
        yield f"the same place: {agrees}"
    size = 2 * first.nbytes / 2**30
    yield f"{time.process_time() - began:.1f} s with enlarged maps, which alone are {size:.1f} GiB"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded", help="whose features are compared")
    parser.add_argument("--count", type=int, default=8, help="moved figures")
    parser.add_argument("--names", default=",".join(DEFINITIONS), help=f"among {', '.join(DEFINITIONS)}")
    parser.add_argument(
        "--search", type=int, metavar="SIDE", help="time the search in a picture so wide, and nothing else"
    )
    arguments = parser.parse_args()
    if arguments.search:
        print("\n".join(search(arguments.search)))
        return
    tools = Tools(features=arguments.model)
    names = [name for name in arguments.names.split(",") if METRICS[name].needs == "features"]
    print(tools.used(["features"])["features"], flush=True)
    for row in rows(names, arguments.count, tools):
        tools.forget()
        print(row, flush=True)


if __name__ == "__main__":
    main()
