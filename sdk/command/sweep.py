"""`dragtext sweep`: one edit over a grid of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from .arguments import (
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
    VaeOption,
    beside,
    read_inputs,
    setting_options,
)


@setting_options
def sweep(
    image: ImageArgument,
    vary: Annotated[
        Optional[list[str]], typer.Option("--vary", help="SETTING=VALUE,VALUE,... ; once per setting to vary")
    ] = None,
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
    output_dir: Annotated[Optional[str], typer.Option("--output-dir", "-o", help="[IMAGE-sweep]")] = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Run one edit over a grid of settings; write table.csv, table.json and contact.png. Resumes after a stop."""
    from ..batch.grid import cells, parse_axis, run_grid
    from ..picture.files import check_writable, make_folder

    asked, loaded, mask_array = read_inputs(image, prompt, drag, mask, region, request, settings)
    axes = [parse_axis(text) for text in vary or ()]
    cells(axes, asked.settings)  # a wrong value is refused before the model loads
    folder = Path(output_dir or beside(image, "-sweep"))
    check_writable(make_folder(folder) / "table.csv")

    from ..editor import Editor
    from ..model.load import load_model
    from ..model.memory import memory_errors
    from .console import ProgressBars, put, put_json, say
    from .stopping import interruptible

    bars = ProgressBars(quiet)

    def announce(number: int, total: int, varied: dict[str, Any]) -> None:
        bars.close()
        if not quiet:
            say(f"[{number + 1}/{total}] " + " ".join(f"{k}={v}" for k, v in varied.items()))

    with interruptible("the edits that are done are kept, and the same command goes on from there") as should_stop:
        with memory_errors():
            loaded_model = load_model(model, device=device, dtype=dtype, attention=attention, vae=vae)
            editor = Editor(loaded_model, loaded, asked.prompt)
        try:
            rows = run_grid(
                editor, asked, mask_array, axes, folder, on_cell=announce, on_progress=bars, should_stop=should_stop
            )
        finally:
            bars.close()
    if json_:
        put_json({"folder": str(folder), "rows": rows})
        return
    for row in rows:
        varied = "  ".join(f"{name} {row[name]}" for name, _ in axes)
        spent = "" if row["error"] else f"{row['updates']} updates  {row['seconds']:.1f} s"
        outcome = row["error"] or f"{row['distance_left']:6.1f} px left  {spent}"
        put(f"{varied}  {outcome}")
    put(f"Saved {folder / 'table.csv'}, table.json and contact.png")
