"""`dragtext edit` and `dragtext render`: one picture, and what a saved edit can be drawn as."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import InputError
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
    RegionOption,
    RequestOption,
    SweepOption,
    VaeOption,
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
    region: RegionOption = None,
    request: RequestOption = None,
    model: ModelOption = None,
    vae: VaeOption = None,
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
    from ..picture.files import check_output, check_writable, save_image

    asked, loaded, mask_array = read_inputs(image, prompt, drag, mask, region, request, settings)
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
    from .console import Attempts, ProgressBars, say, show_result
    from .stopping import interruptible

    bars, writing = ProgressBars(quiet), Attempts()
    with interruptible() as stop:
        with memory_errors():
            loaded_model = load_model(model, device=device, dtype=dtype, attention=attention, vae=vae)
            editor = Editor(loaded_model, loaded, asked.prompt)
        try:
            result = editor.drag(
                asked.drags,
                mask=mask_array,
                region=asked.region,
                settings=asked.settings,
                on_progress=bars,
                should_stop=stop,
                trace=trace is not None,
            )
            # The picture first, then what takes little, then what takes long.
            with writing.attempt():
                save_image(result.image if point is None else result.at(*point), target, result.request)
            is_saved = not writing.failed
            if save_state is not None:
                with writing.attempt():
                    result.save_state(save_state)
            if trace is not None and result.trace is not None:
                with writing.attempt():
                    result.trace.save(trace)
            if values is not None and not stop():
                with writing.attempt():
                    _write_sweep(result.rendering, values, target, bars, stop)
        finally:
            bars.close()
    if is_saved:
        show_result(result, str(target), json_)
    writing.check()
    if result.stopped == "interrupted":
        say("Interrupted: the best so far was kept" + ("." if values is None else ", and no sweep was drawn."))
        raise typer.Exit(stop.exit_code)


def render(
    state: Annotated[str, typer.Argument(help="what `dragtext edit --save-state` wrote")],
    model: ModelOption = None,
    vae: VaeOption = None,
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
    from .console import Attempts, ProgressBars, put
    from .stopping import interruptible

    bars, writing = ProgressBars(quiet), Attempts()
    with interruptible(immediately=True) as stop:
        with memory_errors():
            saved = open_result(state, load_model(model, device=device, dtype=dtype, vae=vae))
        try:
            with writing.attempt():
                save_image(saved.at(*point), target, saved.request)
            is_saved = not writing.failed
            if values is not None:
                with writing.attempt():
                    _write_sweep(saved.rendering, values, target, bars, stop)
        finally:
            bars.close()
    if is_saved:
        put(f"Saved {target}")
    writing.check()


def _write_sweep(rendering: Any, values: list[float], target: Path, bars: Any, stop: Any) -> None:
    from ..picture.drawing import save_sweep
    from ..result import Progress

    def on_step(done: int, total: int) -> None:
        if stop():
            raise stop.error(f"The sweep was stopped and is not drawn; {target} is.")
        bars(Progress("sweep", done, total))

    images = rendering.sweep(values, on_step)
    save_sweep(target.with_name(f"{target.stem}-sweep.png"), images, [f"v = {value:g}" for value in values])
