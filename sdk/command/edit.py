"""`dragtext edit` and `dragtext render`: one picture, and what a saved edit can be drawn as."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import InputError, InterruptedEditError
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
    output: Annotated[Optional[str], typer.Option("--output", "-o", help="[IMAGE-dragged.png]")] = None,
    at: AtOption = None,
    sweep_: SweepOption = None,
    save_state: Annotated[
        Optional[str], typer.Option(help="also write a .safetensors file that `dragtext render` reads")
    ] = None,
    json_: JsonOption = False,
    trace: Annotated[Optional[str], typer.Option(help="write what the loop did to this .npz")] = None,
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


def render(
    state: Annotated[str, typer.Argument(help="what `dragtext edit --save-state` wrote")],
    model: ModelOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    output: Annotated[Optional[str], typer.Option("--output", "-o", help="[STATE-rendered.png]")] = None,
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


def _write_sweep(rendering: Any, values: list[float], target: Path, bars: Any) -> None:
    from ..picture.drawing import save_sweep
    from ..result import Progress

    images = rendering.sweep(values, lambda done, total: bars(Progress("sweep", done, total)))
    save_sweep(target.with_name(f"{target.stem}-sweep.png"), images, [f"v = {value:g}" for value in values])
