"""The `dragtext` command: edit, demo, info. Exit codes: 0 done, 2 bad input, 3 not enough memory, 130 interrupted."""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .errors import DragTextError, InputError, InterruptedEditError
from .request import METHOD_DEFAULTS, Drag, Request, Settings, make_drags, make_settings, setting_names

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
    hints = typing.get_type_hints(Settings)
    parameters = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(parameter)
            continue
        for field in setting_names():
            parameters.append(_option(field, hints[field]))
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _option(field: str, hint: Any) -> inspect.Parameter:
    kind = next((k for k in typing.get_args(hint) if k is not type(None)), hint)
    choices = ""
    if typing.get_origin(hint) is typing.Literal:
        kind, choices = str, f" ({', '.join(typing.get_args(hint))})"
    default = getattr(Settings(), field)
    if default is None:
        default = ", ".join(f"{method} {values[field]}" for method, values in METHOD_DEFAULTS.items())
    flag = "--" + field.replace("_", "-")
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    help_text = f"{_description(field)}{choices} [{default}]"
    return inspect.Parameter(
        field,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[kind | None, typer.Option(declaration, help=help_text, show_default=False)],
    )


def _description(field: str) -> str:
    fields = getattr(Settings, "model_fields", None) or Settings.__fields__
    information = fields[field]
    return getattr(information, "description", None) or information.field_info.description


@app.command()
@setting_options
def edit(
    image: Annotated[str, typer.Argument(help="picture to edit")],
    prompt: Annotated[str | None, typer.Option(help="what the picture shows")] = None,
    drag: Annotated[
        list[str] | None, typer.Option("--drag", help="x0,y0:x1,y1 in pixels; give it once per handle point")
    ] = None,
    mask: Annotated[str | None, typer.Option(help="picture of the same size; white may change")] = None,
    request: Annotated[
        str | None, typer.Option(help="request as .json, or a PNG that an earlier edit wrote; options override it")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="diffusers folder or .safetensors checkpoint [the embedded model]")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps [cuda if there is one]")] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16")] = None,
    attention: Annotated[str, typer.Option(help="sdpa or xformers")] = "sdpa",
    output: Annotated[str | None, typer.Option("--output", "-o", help="[IMAGE-dragged.png]")] = None,
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")] = False,
    trace: Annotated[str | None, typer.Option(help="write what the loop did to this .npz")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")] = False,
    **settings: Any,
) -> None:
    """Drag points of a picture to their targets."""
    from .images import check_output, check_writable, load_image, load_mask, write_atomically

    asked = _read_request(request, prompt, drag, mask, settings)
    loaded = load_image(image)
    if not asked.drags:
        raise InputError("There are no drags; give at least one --drag x0,y0:x1,y1.")
    from .frame import Frame

    size = loaded.rgb.shape[:2]
    Frame.of(*size).to_grid(asked.drags)  # points outside the image are refused before the model loads
    mask_array = None if asked.mask is None else load_mask(asked.mask, size)
    target = check_output(output or _default_output(image), loaded.alpha is not None)
    if trace is not None:
        check_writable(Path(trace))
        if Path(trace).absolute() == target.absolute():
            raise InputError("--trace and --output name the same file; give the trace its own .npz.")

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
        finally:
            bars.close()
        result.save(target)
        if trace is not None and result.trace is not None:
            write_atomically(Path(trace), result.trace.save)
    show_result(result, str(target), json_)
    if result.stopped == "interrupted":
        typer.echo("Interrupted: the best so far was kept.", err=True)
        raise typer.Exit(InterruptedEditError.exit_code)


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


def _default_output(image: str) -> Path:
    return Path(image).with_name(f"{Path(image).stem}-dragged.png")


@app.command()
def demo(
    seed: Annotated[int, typer.Option(help="which scene")] = 7,
    output_dir: Annotated[str, typer.Option(help="folder for the pictures")] = "dragtext-demo",
    json_: Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")] = False,
) -> None:
    """Draw a scene, drag its object with the embedded model, and show what moved."""
    from .console import ProgressBars, interruptible
    from .demo import run_demo

    bars = ProgressBars(quiet)
    with interruptible() as should_stop:
        try:
            outcome = run_demo(seed, Path(output_dir), bars, should_stop)
        finally:
            bars.close()
    if json_:
        typer.echo(json.dumps(outcome.report))
    else:
        typer.echo(outcome.text)
    if outcome.report["stopped"] == "interrupted":
        raise typer.Exit(InterruptedEditError.exit_code)


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
