"""The demonstration: scenes that this project draws, dragged on the model that ships with it, and measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from PIL import Image

from ..drag import LOOPS
from ..drag.regions import choose_regions
from ..drag.start import in_betweens
from ..editor import Editor, OnProgress
from ..errors import InputError, InterruptedEditError
from ..evaluation.examples import Example, examples
from ..evaluation.movement import Movement, measure
from ..evaluation.suited import loop_settings
from ..evaluation.tasks import DragTask
from ..model.base import DiffusionModel
from ..model.load import load_model
from ..picture.animation import save_animation
from ..picture.drawing import draw_instruction, strip
from ..picture.files import check_writable, make_folder, save_image
from ..request import make_drags
from ..result import EditResult
from ..settings import Settings, make_settings
from .arguments import JsonOption, QuietOption
from .console import ProgressBars, put, put_json, say
from .stopping import interruptible

# The loop alone is there for comparison: as many updates as a demonstration has time for, at the strength of the start,
# whose inversion of the picture then serves both.
SHORT: dict[str, Any] = {"drag_levels": 2, "tracks_per_level": 2, "strength": 0.7}
FRAMES = 12  # of an animation


@dataclass(frozen=True)
class DemoOutcome:
    """text: what moved where, for people; report: the same for programs."""

    text: str
    report: dict[str, Any]


@dataclass(frozen=True)
class _Shown:
    """A drag of the demonstration and what came of it; loops: the same drag by the loop alone."""

    example: Example
    result: EditResult
    moved: Movement
    loops: tuple[EditResult, ...]


def demo_settings(method: str | None, kind: str) -> Settings:
    """The model's own for None, else a method's that suit the model."""
    if method is None:
        return Settings()
    asked = make_settings({"method": method})  # says what is wrong with the name
    return loop_settings(method, kind) if asked.method in LOOPS else asked


def run_demo(
    seed: int,
    folder: Path,
    on_progress: OnProgress,
    should_stop: Callable[[], bool],
    method: str | None = None,
    on_scene: Callable[[str], None] | None = None,
) -> DemoOutcome:
    """Drag a whole figure, a part, a rotation and a stretch, on scenes that are chosen by `seed`.

    method: None for the settings that come with the model. Writes demo.png (two rows per drag: original, instruction
    and result; true answer and the loop alone with and without text) and, per kind, the result and an animation into
    `folder`; trajectory.gif is the first one's. on_scene: told what comes next.
    """
    if seed < 0:
        raise InputError(f"--seed {seed} is negative; give 0 or more.")
    asked = {one.name: demo_settings(method, one.task.kind) for one in examples(seed)}
    check_writable(make_folder(folder) / "demo.png")
    model = load_model()
    shown: list[_Shown] = []
    stopped = "done"
    for example in examples(seed):
        kind = example.task.kind
        if on_scene:
            on_scene(f"{example.title}: {example.prompt}")
        try:
            one = _show(model, example, asked[example.name], on_progress, should_stop)
        except InterruptedEditError:
            if not shown:
                raise
            stopped = "interrupted"
            break
        shown.append(one)
        one.result.save(folder / f"{kind}.png")
        name = "trajectory.gif" if len(shown) == 1 else f"trajectory-{kind}.gif"
        save_animation(folder / name, _frames(example.task, one.result))
        if one.result.stopped == "interrupted" or len(one.loops) < 2:
            stopped = "interrupted"
            break
    save_image(Image.fromarray(_sheet(shown)), folder / "demo.png")
    seconds = sum(sum(one.result.timings.values()) for one in shown)
    lines = [line for one in shown for line in _describe(one)]
    lines.append(f"{len(shown)} drags in {seconds:.1f} s. Look at {folder / 'demo.png'} and trajectory.gif")
    facts = {
        one.example.task.kind: {
            "output": str(folder / f"{one.example.task.kind}.png"),
            **one.result.report(),
            "moved": asdict(one.moved),
            "loop": [{"updates": loop.steps, **asdict(_measured(one, loop))} for loop in one.loops],
        }
        for one in shown
    }
    return DemoOutcome("\n".join(lines), {"output": str(folder / "demo.png"), "stopped": stopped, "drags": facts})


def _show(
    model: DiffusionModel, example: Example, asked: Settings, on_progress: OnProgress, should_stop: Callable[[], bool]
) -> _Shown:
    task, request = example.task, example.request
    editor = Editor(model, example.picture, example.prompt)

    def drag(settings: Settings) -> EditResult:
        return editor.drag(
            request.drags, mask=request.mask, settings=settings, on_progress=on_progress, should_stop=should_stop
        )

    result = drag(asked)
    loops: list[EditResult] = []
    for text in (True, False):
        if should_stop():
            break
        try:
            loops.append(drag(loop_settings("gooddrag", task.kind, text=text, **SHORT)))
        except InterruptedEditError:
            break
    return _Shown(example, result, measure(task, np.array(result.image)), tuple(loops))


def _measured(shown: _Shown, loop: EditResult) -> Movement:
    return measure(shown.example.task, np.array(loop.image))


def _sheet(shown: Sequence[_Shown]) -> np.ndarray:
    """Two rows per drag."""
    rows = []
    for one in shown:
        task = one.example.task
        drags = make_drags(task.drags)
        method = one.result.settings.method
        top = [task.image, draw_instruction(task.image, drags, task.mask), np.array(one.result.image)]
        rows.append(strip(top, ["original", "instruction", f"result ({method})"]))
        below, labels = [task.truth], ["true answer"]
        for text, loop in zip(("text", "no text"), one.loops):
            below.append(np.array(loop.image))
            labels.append(f"loop, {loop.steps} updates, {text}")
        missing = 3 - len(below)
        blank = np.full_like(task.image, 255)
        rows.append(strip([*below, *[blank] * missing], [*labels, *[""] * missing]))
    return np.vstack(rows)


def _frames(task: DragTask, result: EditResult) -> list[tuple[np.ndarray, int]]:
    """Pictures and milliseconds: the drag under way, and its result."""
    drags = make_drags(task.drags)
    frames = [(draw_instruction(task.image, drags, None), 800)]
    regions = choose_regions(task.image, drags, task.mask > 0)
    frames += [(picture, 60) for picture in in_betweens(task.image, regions.moves, FRAMES - 1)]
    return [*frames, (np.array(result.image.convert("RGB")), 1600)]


def _describe(shown: _Shown) -> Sequence[str]:
    moved = shown.moved
    lines = [f'{shown.example.title}: "{shown.example.prompt}"']
    if moved.fraction is not None:
        lines.append(f"  moved {100 * moved.fraction:.0f} % of the way, {100 * (moved.overlap or 0):.0f} % overlap")
    if moved.part_fraction is not None:
        lines.append(f"  the part moved {100 * moved.part_fraction:.0f} % of the way")
    alone = [f"{100 * _measured(shown, loop).remaining_error:.0f} %" for loop in shown.loops]
    updates = max((loop.steps for loop in shown.loops), default=0)
    compared = (
        f" (by {updates} updates of the loop alone, with and without text: {' and '.join(alone)})" if alone else ""
    )
    lines.append(
        f"  {100 * moved.remaining_error:.0f} % of the difference to the true picture remains{compared}, "
        f"{sum(shown.result.timings.values()):.1f} s"
    )
    return lines


def demo(
    seed: Annotated[int, typer.Option(help="which scenes")] = 0,
    method: Annotated[Optional[str], typer.Option(help="method [the model's own: a warped start]")] = None,
    output_dir: Annotated[str, typer.Option(help="folder for the pictures")] = "dragtext-demo",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw scenes, drag a duck, a cat's ears, a fish and a house with the embedded model, and show what moved."""
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
