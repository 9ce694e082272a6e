"""The `dragtext` command: edit, render, sweep, demo, export-model, info.

Exit codes: 0 done, 2 bad input, 3 not enough memory, 130 interrupted.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .catalogue import SettingInfo, catalogue
from .errors import DragTextError, InputError, InterruptedEditError
from .request import Drag, Request, make_drags, make_settings

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


def parse_drag(text: str) -> Drag:
    """`x0,y0:x1,y1` in pixels."""
    try:
        source, target = (tuple(float(v) for v in part.split(",")) for part in text.split(":"))
        (drag,) = make_drags([(source, target)])
    except ValueError:
        raise InputError(f"--drag {text} is not of the form x0,y0:x1,y1, for example 120,80:180,80.") from None
    return drag


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option per field of `Settings`, in place of its `**settings`."""
    parameters = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            parameters += [_option(setting) for setting in catalogue()]
        else:
            parameters.append(parameter)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _option(setting: SettingInfo) -> inspect.Parameter:
    kind = {"bool": bool, "int": int, "float": float, "choice": str}[setting.kind]
    choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
    flag = "--" + setting.name.replace("_", "-")
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    help_text = f"{setting.description}{choices} [{setting.default_text}]"
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, typer.Option(declaration, help=help_text, show_default=False)],
    )


ImageArgument = Annotated[str, typer.Argument(help="picture to edit")]
PromptOption = Annotated[str | None, typer.Option(help="what the picture shows")]
DragOption = Annotated[
    list[str] | None, typer.Option("--drag", help="x0,y0:x1,y1 in pixels; give it once per handle point")
]
MaskOption = Annotated[str | None, typer.Option(help="picture of the same size; white may change")]
RequestOption = Annotated[
    str | None, typer.Option(help="request as .json, or a PNG that an earlier edit wrote; options override it")
]
ModelOption = Annotated[
    str | None, typer.Option(help="diffusers folder or .safetensors checkpoint [the embedded model]")
]
DeviceOption = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps [cuda if there is one]")]
DtypeOption = Annotated[str | None, typer.Option(help="float32, float16, bfloat16")]
AttentionOption = Annotated[str, typer.Option(help="sdpa or xformers")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
AtOption = Annotated[
    str | None,
    typer.Option(help="V or V,TEXT: how much of the edit; 0 the original, 1 all of it, 1.5 beyond [1]"),
]
SweepOption = Annotated[
    str | None, typer.Option("--sweep", help="START:STOP:COUNT, for example 0:2:9; also write a strip and a GIF")
]


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
    from .images import check_output, check_writable, save_image, write_atomically

    asked, loaded, mask_array = _read_inputs(image, prompt, drag, mask, request, settings)
    target = check_output(output or _beside(image, "-dragged.png"), loaded.alpha is not None)
    point, values = _parse_at(at), _parse_sweep(sweep_)
    sides = _side_outputs(target, values is not None)
    if trace is not None:
        check_writable(Path(trace))
        sides.append(Path(trace))
    if save_state is not None:
        from .rendering import check_state

        sides.append(check_state(save_state))
    names = [path.absolute() for path in (target, *sides)]
    if len(set(names)) < len(names):
        raise InputError("Two of the outputs name the same file; give --trace and --save-state names of their own.")

    from .console import ProgressBars, interruptible, show_result
    from .editor import Editor
    from .memory import memory_errors
    from .model.load import load_model

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
    from .images import check_output, save_image

    target = check_output(output or _beside(state, "-rendered.png"))
    point, values = _parse_at(at) or (1.0, None), _parse_sweep(sweep_)
    _side_outputs(target, values is not None)
    if not Path(state).is_file():
        raise InputError(f"The saved edit {state} does not exist; check the path.")

    from .console import ProgressBars, interruptible
    from .memory import memory_errors
    from .model.load import load_model
    from .rendering import open_result

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
    from .evaluation.grid import cells, parse_axis, run_grid
    from .images import check_writable

    asked, _, mask_array = _read_inputs(image, prompt, drag, mask, request, settings)
    axes = [parse_axis(text) for text in vary or ()]
    cells(axes, asked.settings)  # a wrong value is refused before the model loads
    folder = Path(output_dir or _beside(image, "-sweep"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The output folder {folder} cannot be made ({error.strerror}).") from None
    check_writable(folder / "table.csv")

    from .console import ProgressBars, interruptible
    from .editor import Editor
    from .memory import memory_errors
    from .model.load import load_model

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


def _read_inputs(
    image: str,
    prompt: str | None,
    drags: list[str] | None,
    mask: str | None,
    request: str | None,
    settings: dict[str, Any],
) -> tuple[Request, Any, Any]:
    """The request, the loaded picture and the mask, all checked before a model is loaded."""
    from .frame import Frame
    from .images import load_image, load_mask

    asked = _read_request(request, prompt, drags, mask, settings)
    loaded = load_image(image)
    if not asked.drags:
        raise InputError("There are no drags; give at least one --drag x0,y0:x1,y1.")
    size = loaded.rgb.shape[:2]
    Frame.of(*size).check_points(asked.drags)
    return asked, loaded, None if asked.mask is None else load_mask(asked.mask, size)


def _parse_at(text: str | None) -> tuple[float, float | None] | None:
    if text is None:
        return None
    try:
        image, *more = (float(part) for part in text.split(","))
        (words,) = more or (None,)
    except ValueError:
        raise InputError(f"--at {text} is not of the form V or V,TEXT, for example 1.5 or 1,0.") from None
    from .rendering import check_point

    check_point((image, image if words is None else words))
    return image, words


def _parse_sweep(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        first, last, number = text.split(":")
        start, stop, count = float(first), float(last), int(number)
    except ValueError:
        raise InputError(f"--sweep {text} is not of the form START:STOP:COUNT, for example 0:2:9.") from None
    if not 2 <= count <= 100:
        raise InputError(f"--sweep {text} asks for {count} pictures; give 2 to 100.")
    from .rendering import check_point

    for end in (start, stop):
        check_point(end)
    return [start + (stop - start) * k / (count - 1) for k in range(count)]


def _side_outputs(target: Path, sweeps: bool) -> list[Path]:
    """The strip and the GIF of a sweep, checked to be writable."""
    from .images import check_writable

    if not sweeps:
        return []
    strip = target.with_name(f"{target.stem}-sweep.png")
    paths = [strip, strip.with_suffix(".gif")]
    for path in paths:
        check_writable(path)
    return paths


def _write_sweep(rendering: Any, values: list[float], target: Path, bars: Any) -> None:
    from .pictures import save_sweep
    from .result import Progress

    images = rendering.sweep(values, lambda done, total: bars(Progress("sweep", done, total)))
    save_sweep(target.with_name(f"{target.stem}-sweep.png"), images, [f"v = {value:g}" for value in values])


def _read_request(
    path: str | None, prompt: str | None, drags: list[str] | None, mask: str | None, settings: dict[str, Any]
) -> Request:
    """The request file, if any, with the command line's values over it."""
    from .images import read_request

    asked = read_request(path) if path else Request(())
    if path and asked.mask and not asked.mask.startswith("data:"):
        asked = replace(asked, mask=str(Path(path).parent / asked.mask))
    given = {name: value for name, value in settings.items() if value is not None}
    return Request(
        drags=tuple(parse_drag(text) for text in drags) if drags else asked.drags,
        prompt=asked.prompt if prompt is None else prompt,
        mask=asked.mask if mask is None else mask,
        settings=make_settings(given, asked.settings),
    )


def _beside(path: str, ending: str) -> Path:
    return Path(path).with_name(f"{Path(path).stem}{ending}")


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
    from .images import check_writable

    path = Path(output)
    if path.suffix != ".safetensors":
        raise InputError(f"The checkpoint {path.name} must end in .safetensors.")
    if dtype not in ("float16", "float32"):
        raise InputError(f"--dtype {dtype} is neither float16 nor float32.")
    check_writable(path)
    import torch

    from .model.export import export_checkpoint
    from .model.load import load_model

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
