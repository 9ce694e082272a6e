"""The `dragtext` command: edit, render, sweep, demo, export-model, info.

Exit codes: 0 done, 2 bad input, 3 not enough memory, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DragTextError, InputError, InterruptedEditError
from .arguments import (
    AtOption,
    AttentionOption,
    DeviceOption,
    DragOption,
    DtypeOption,
    ImageArgument,
    JsonOption,
    MaskOption,
    ModelOption,
    PromptOption,
    QuietOption,
    RequestOption,
    SweepOption,
    beside,
    parse_at,
    parse_sweep,
    read_inputs,
    setting_options,
    side_outputs,
)

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Drag points of an image to where they should be, with Stable Diffusion and DragText.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"dragtext {version('dragtext')}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


@app.command()
@setting_options
def edit(
    image: ImageArgument,
    prompt: PromptOption = None,
    drag: DragOption = None,
    mask: MaskOption = None,
    request: RequestOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    attention: AttentionOption = "sdpa",
    output: Annotated[str | None, typer.Option("--output", "-o", help="[IMAGE-dragged.png]")] = None,
    at: AtOption = None,
    sweep_: SweepOption = None,
    save_state: Annotated[
        str | None, typer.Option(help="also write a .safetensors file that `dragtext render` reads")
    ] = None,
    json_: JsonOption = False,
    trace: Annotated[str | None, typer.Option(help="write what the loop did to this .npz")] = None,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Drag points of a picture to their targets."""
    from ..picture.files import check_output, check_writable, save_image, write_atomically

    asked, loaded, mask_array = read_inputs(image, prompt, drag, mask, request, settings)
    target = check_output(output or beside(image, "-dragged.png"), loaded.alpha is not None)
    point, values = parse_at(at), parse_sweep(sweep_)
    sides = side_outputs(target, values is not None)
    if trace is not None:
        check_writable(Path(trace))
        sides.append(Path(trace))
    if save_state is not None:
        from ..render.saved import check_state

        sides.append(check_state(save_state))
    names = [path.absolute() for path in (target, *sides)]
    if len(set(names)) < len(names):
        raise InputError("Two of the outputs name the same file; give --trace and --save-state names of their own.")

    from ..editor import Editor
    from ..model.load import load_model
    from ..model.memory import memory_errors
    from .console import ProgressBars, interruptible, show_result

    bars = ProgressBars(quiet)
    with interruptible() as should_stop:
        with memory_errors():
            editor = Editor(load_model(model, device=device, dtype=dtype, attention=attention), image, asked.prompt)
        try:
            result = editor.drag(
                asked.drags,
                mask=mask_array,
                settings=asked.settings,
                on_progress=bars,
                should_stop=should_stop,
                trace=trace is not None,
            )
            # First what cannot fail any more, so that a sweep too large for the memory costs no optimisation.
            if save_state is not None:
                result.save_state(save_state)
            if trace is not None and result.trace is not None:
                write_atomically(Path(trace), result.trace.save)
            save_image(result.image if point is None else result.at(*point), target, result.request)
            if values is not None:
                _write_sweep(result.rendering, values, target, bars)
        finally:
            bars.close()
    show_result(result, str(target), json_)
    if result.stopped == "interrupted":
        typer.echo("Interrupted: the best so far was kept.", err=True)
        raise typer.Exit(InterruptedEditError.exit_code)


@app.command()
def render(
    state: Annotated[str, typer.Argument(help="what `dragtext edit --save-state` wrote")],
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    output: Annotated[str | None, typer.Option("--output", "-o", help="[STATE-rendered.png]")] = None,
    at: AtOption = None,
    sweep_: SweepOption = None,
    quiet: QuietOption = False,
) -> None:
    """Render a saved edit again, at any point of the way, without optimising."""
    from ..picture.files import check_output, save_image

    target = check_output(output or beside(state, "-rendered.png"))
    point, values = parse_at(at) or (1.0, None), parse_sweep(sweep_)
    side_outputs(target, values is not None)
    if not Path(state).is_file():
        raise InputError(f"The saved edit {state} does not exist; check the path.")

    from ..model.load import load_model
    from ..model.memory import memory_errors
    from ..render.saved import open_result
    from .console import ProgressBars, interruptible

    bars = ProgressBars(quiet)
    with interruptible(immediately=True):
        with memory_errors():
            saved = open_result(state, load_model(model, device=device, dtype=dtype))
        try:
            image = saved.at(*point)
            save_image(image, target, saved.request)
            if values is not None:
                _write_sweep(saved.rendering, values, target, bars)
        finally:
            bars.close()
    typer.echo(f"Saved {target}")


@app.command()
@setting_options
def sweep(
    image: ImageArgument,
    vary: Annotated[
        list[str] | None, typer.Option("--vary", help="SETTING=VALUE,VALUE,... ; once per setting to vary")
    ] = None,
    prompt: PromptOption = None,
    drag: DragOption = None,
    mask: MaskOption = None,
    request: RequestOption = None,
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    attention: AttentionOption = "sdpa",
    output_dir: Annotated[str | None, typer.Option("--output-dir", "-o", help="[IMAGE-sweep]")] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Run one edit over a grid of settings; write table.csv, table.json and contact.png. Resumes after a stop."""
    from ..batch.grid import cells, parse_axis, run_grid
    from ..picture.files import check_writable

    asked, _, mask_array = read_inputs(image, prompt, drag, mask, request, settings)
    axes = [parse_axis(text) for text in vary or ()]
    cells(axes, asked.settings)  # a wrong value is refused before the model loads
    folder = Path(output_dir or beside(image, "-sweep"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder {folder} cannot be made ({error.strerror}).") from None
    check_writable(folder / "table.csv")

    from ..editor import Editor
    from ..model.load import load_model
    from ..model.memory import memory_errors
    from .console import ProgressBars, interruptible

    bars = ProgressBars(quiet)

    def announce(number: int, total: int, varied: dict[str, Any]) -> None:
        bars.close()
        if not quiet:
            typer.echo(f"[{number + 1}/{total}] " + " ".join(f"{k}={v}" for k, v in varied.items()), err=True)

    with interruptible("the edits that are done are kept, and the same command goes on from there") as should_stop:
        with memory_errors():
            editor = Editor(load_model(model, device=device, dtype=dtype, attention=attention), image, asked.prompt)
        try:
            rows = run_grid(
                editor, asked, mask_array, axes, folder, on_cell=announce, on_progress=bars, should_stop=should_stop
            )
        finally:
            bars.close()
    if json_:
        typer.echo(json.dumps({"folder": str(folder), "rows": rows}))
        return
    for row in rows:
        varied = "  ".join(f"{name} {row[name]}" for name, _ in axes)
        spent = "" if row["error"] else f"{row['updates']} updates  {row['seconds']:.1f} s"
        outcome = row["error"] or f"{row['distance_left']:6.1f} px left  {spent}"
        typer.echo(f"{varied}  {outcome}")
    typer.echo(f"Saved {folder / 'table.csv'}, table.json and contact.png")


def _write_sweep(rendering: Any, values: list[float], target: Path, bars: Any) -> None:
    from ..picture.drawing import save_sweep
    from ..result import Progress

    images = rendering.sweep(values, lambda done, total: bars(Progress("sweep", done, total)))
    save_sweep(target.with_name(f"{target.stem}-sweep.png"), images, [f"v = {value:g}" for value in values])


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="which scenes")] = 0,
    method: Annotated[str | None, typer.Option(help="base method [gooddrag]")] = None,
    output_dir: Annotated[str, typer.Option(help="folder for the pictures")] = "dragtext-demo",
    json_: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Draw scenes, drag an object, a part, a rotation and a stretch with the embedded model, and show what moved."""
    from .console import ProgressBars, interruptible
    from .demo import run_demo

    bars = ProgressBars(quiet)

    def announce(scene: str) -> None:
        bars.close()
        if not quiet:
            typer.echo(scene, err=True)

    with interruptible() as should_stop:
        try:
            outcome = run_demo(seed, Path(output_dir), bars, should_stop, method, announce)
        finally:
            bars.close()
    if json_:
        typer.echo(json.dumps(outcome.report))
    else:
        typer.echo(outcome.text)
    if outcome.report["stopped"] == "interrupted":
        raise typer.Exit(InterruptedEditError.exit_code)


@app.command("export-model")
def export_model(
    output: Annotated[str, typer.Argument(help="where to write NAME.safetensors, with NAME.yaml and NAME-clip/")],
    model: Annotated[str | None, typer.Option(help="diffusers folder [the embedded model]")] = None,
    dtype: Annotated[str, typer.Option(help="float16 or float32, of the written weights")] = "float16",
) -> None:
    """Write a model in the original layout with its yaml, for the checkpoint folder of A1111 or Forge."""
    from ..picture.files import check_writable

    path = Path(output)
    if path.suffix != ".safetensors":
        raise InputError(f"The checkpoint {path.name} must end in .safetensors.")
    if dtype not in ("float16", "float32"):
        raise InputError(f"--dtype {dtype} is neither float16 nor float32.")
    check_writable(path)
    import torch

    from ..model.export import export_checkpoint
    from ..model.load import load_model

    for written in export_checkpoint(load_model(model, device="cpu", dtype="float32"), path, getattr(torch, dtype)):
        typer.echo(f"Saved {written}")


@app.command()
def info(json_: Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")] = False) -> None:
    """Versions, devices, models and caches: what a bug report needs."""
    from .information import collect

    facts = collect()
    if json_:
        typer.echo(json.dumps(facts))
        return
    for name, value in facts.items():
        typer.echo(f"{name:>16}  {value}")


def main() -> None:
    """Run the command; every failure is one sentence on stderr and an exit code, never a traceback."""
    try:
        app(standalone_mode=True)
    except DragTextError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("Interrupted: nothing was written.", err=True)
        sys.exit(InterruptedEditError.exit_code)
    except Exception as error:
        if os.environ.get("DRAGTEXT_DEBUG"):
            traceback.print_exc()
        reason = " ".join(str(error).split())
        typer.echo(
            f"Error: {type(error).__name__}: {reason}; please report it with the output of `dragtext info` "
            "(DRAGTEXT_DEBUG=1 shows where it happened).",
            err=True,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
