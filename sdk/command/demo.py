"""The demonstration: scenes that this project draws, dragged on the model that ships with it, and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from PIL import Image

from ..editor import Editor, OnProgress
from ..errors import InputError, InterruptedEditError
from ..evaluation.centroid import Movement, measure
from ..evaluation.scenes import FIRST_EVALUATION_SEED
from ..evaluation.tasks import DEMO_SETTINGS, KINDS, WHOLE_OBJECT_SETTINGS, DragTask, drag_task
from ..model.base import DiffusionModel
from ..model.load import load_model
from ..picture.drawing import draw_instruction, save_trajectory, strip
from ..picture.files import check_writable, make_folder, save_image
from ..request import make_drags
from ..result import EditResult
from ..settings import Settings, make_settings
from .arguments import JsonOption, QuietOption
from .console import ProgressBars, put, put_json, say
from .stopping import interruptible

WHAT = {"move": "a whole object", "part": "a part", "rotate": "a rotation", "stretch": "a stretch"}


@dataclass(frozen=True)
class DemoOutcome:
    """text: what moved where, for people; report: the same for programs."""

    text: str
    report: dict[str, Any]


def demo_settings(method: str | None = None, kind: str = "move") -> Settings:
    """The method's settings for the embedded model and one of the KINDS of drags."""
    chosen = make_settings({} if method is None else {"method": method})
    suited = dict(DEMO_SETTINGS[chosen.method])
    if kind == "move":
        suited |= WHOLE_OBJECT_SETTINGS.get(chosen.method, {})
    return make_settings(suited, chosen)


def run_demo(
    seed: int,
    folder: Path,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    method: str | None = None,
    on_scene: Callable[[str], None] | None = None,
) -> DemoOutcome:
    """Drag an object, a part, a rotation and a stretch on evaluation scenes from `seed` on.

    Writes demo.png (a row per drag: original | instruction | result) and, per kind, the result and the trajectory as a
    GIF into `folder`; trajectory.gif is the first one's. on_scene: told what comes next.
    """
    if seed < 0:
        raise InputError(f"--seed {seed} is negative; give 0 or more.")
    suited = {kind: demo_settings(method, kind) for kind in KINDS}
    check_writable(make_folder(folder) / "demo.png")
    model = load_model()
    rows, lines, facts = [], [], {}
    seconds, stopped = 0.0, "done"
    for kind in KINDS:
        task = drag_task(FIRST_EVALUATION_SEED + seed, kind)
        if on_scene:
            on_scene(f"{WHAT[kind]}: {task.scene.caption}")
        try:
            result = _drag(model, task, suited[kind], on_progress, should_stop)
        except InterruptedEditError:
            if not rows:
                raise
            stopped = "interrupted"
            break
        pixels = np.array(result.image)
        moved = measure(task, pixels)
        drags = make_drags(task.drags)
        rows.append([task.image, draw_instruction(task.image, drags, task.mask), pixels])
        targets = [drag.target for drag in drags]
        name = "trajectory.gif" if kind == KINDS[0] else f"trajectory-{kind}.gif"
        save_trajectory(folder / name, task.image, pixels, result.trajectory, targets)
        result.save(folder / f"{kind}.png")
        lines += _describe(kind, task, result, moved)
        facts[kind] = {"output": str(folder / f"{kind}.png"), **result.report(), "moved": asdict(moved)}
        seconds += sum(result.timings.values())
        if result.stopped == "interrupted":
            stopped = "interrupted"
            break
    labels = ["original", "instruction", f"result ({suited['move'].method} + text)"]
    sheet = np.vstack([strip(row, labels if number == 0 else [""] * 3) for number, row in enumerate(rows)])
    save_image(Image.fromarray(sheet), folder / "demo.png")
    lines.append(f"{len(rows)} drags in {seconds:.1f} s. Look at {folder / 'demo.png'} and trajectory.gif")
    return DemoOutcome("\n".join(lines), {"output": str(folder / "demo.png"), "stopped": stopped, "drags": facts})


def _drag(
    model: DiffusionModel, task: DragTask, settings: Settings, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> EditResult:
    editor = Editor(model, task.image, task.scene.caption)
    return editor.drag(task.drags, mask=task.mask, settings=settings, on_progress=on_progress, should_stop=should_stop)


def _describe(kind: str, task: DragTask, result: EditResult, moved: Movement) -> Sequence[str]:
    lines = [f'{WHAT[kind]}: "{task.scene.caption}"']
    for drag in result.drags:
        lines.append(
            f"  handle ({drag.start[0]:.0f}, {drag.start[1]:.0f}) -> ({drag.final[0]:.0f}, {drag.final[1]:.0f}), "
            f"{drag.distance_before:.0f} -> {drag.distance_after:.0f} px from its target (by the tracker)"
        )
    if moved.fraction is not None:
        lines.append(f"  measured by colour: the centroid moved {100 * moved.fraction:.0f} % of the way")
    lines.append(
        f"  measured by colour: {100 * moved.overlap:.0f} % overlap with the true place; inside the mask "
        f"{100 * moved.remaining_error:.0f} % of the difference to the true picture remains"
    )
    return lines


def demo(
    seed: Annotated[int, typer.Option(help="which scenes")] = 0,
    method: Annotated[Optional[str], typer.Option(help="base method [gooddrag]")] = None,
    output_dir: Annotated[str, typer.Option(help="folder for the pictures")] = "dragtext-demo",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw scenes, drag an object, a part, a rotation and a stretch with the embedded model, and show what moved."""
    bars = ProgressBars(quiet)

    def announce(scene: str) -> None:
        bars.close()
        if not quiet:
            say(scene)

    with interruptible() as stop:
        try:
            outcome = run_demo(seed, Path(output_dir), bars, stop, method, announce)
        finally:
            bars.close()
    if json_:
        put_json(outcome.report)
    else:
        put(outcome.text)
    if outcome.report["stopped"] == "interrupted":
        raise typer.Exit(stop.exit_code)
