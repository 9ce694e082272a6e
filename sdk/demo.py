"""The demonstration: a scene that this project draws, dragged on the model that ships with it, and measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .console import report
from .editor import Editor, OnProgress
from .errors import InputError
from .evaluation.centroid import measure
from .evaluation.scenes import DEMO_SETTINGS, FIRST_EVALUATION_SEED, drag_task
from .images import check_writable, save_image
from .model.load import load_model
from .pictures import draw_instruction, save_trajectory, strip
from .request import make_drags, make_settings


@dataclass(frozen=True)
class DemoOutcome:
    """text: what moved where, for people; report: the same for programs."""

    text: str
    report: dict[str, Any]


def run_demo(seed: int, folder: Path, on_progress: OnProgress, should_stop: Callable[[], bool]) -> DemoOutcome:
    """Drag the object of evaluation scene `seed` and write demo.png, trajectory.gif and result.png into `folder`."""
    if seed < 0:
        raise InputError(f"--seed {seed} is negative; give 0 or more.")
    task = drag_task(FIRST_EVALUATION_SEED + seed)
    editor = Editor(load_model(), task.image, task.scene.caption)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder {folder} cannot be made ({error.strerror}).") from None
    check_writable(folder / "demo.png")
    drags = make_drags(task.drags)
    result = editor.drag(
        drags,
        mask=task.mask,
        settings=make_settings(dict(DEMO_SETTINGS)),
        on_progress=on_progress,
        should_stop=should_stop,
    )
    pixels = np.array(result.image)
    moved = measure(task, pixels)
    pictures = [task.image, draw_instruction(task.image, drags, task.mask), pixels]
    save_image(Image.fromarray(strip(pictures, ["original", "instruction", "result"])), folder / "demo.png")
    save_trajectory(folder / "trajectory.gif", task.image, pixels, result.trajectory, [drag.target for drag in drags])
    result.save(folder / "result.png")

    lines = [f'"{task.scene.caption}", dragged by ({task.offset[0]:.0f}, {task.offset[1]:.0f}) px']
    for drag in result.drags:
        lines.append(
            f"  handle ({drag.start[0]:.0f}, {drag.start[1]:.0f}) -> ({drag.final[0]:.0f}, {drag.final[1]:.0f}), "
            f"{drag.distance_before:.0f} -> {drag.distance_after:.0f} px from its target (by the tracker)"
        )
    lines.append(
        f"  measured by colour: the centroid moved {100 * moved.fraction:.0f} % of the way, "
        f"{100 * moved.overlap:.0f} % overlap with where the object should be"
    )
    seconds = sum(result.timings.values())
    lines.append(f"{result.steps} steps in {seconds:.1f} s. Look at {folder / 'demo.png'} and trajectory.gif")
    facts = report(result, str(folder / "demo.png"))
    facts["moved"] = {
        "fraction": moved.fraction,
        "distance_left": moved.distance_left,
        "area_ratio": moved.area_ratio,
        "outside": moved.outside,
        "overlap": moved.overlap,
    }
    return DemoOutcome("\n".join(lines), facts)
