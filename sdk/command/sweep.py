"""`dragtext sweep`: one edit over a grid of settings."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import DragTextError, InputError
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
from .console import put, put_json
from .running import DevicesOption, RayOption, ThreadsOption, Where, WorkersOption, facts, run_tasks


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
    devices: DevicesOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """One edit over a grid of settings: a run with table.csv, table.json and contact.png. Resumes after a stop."""
    from ..batch.folder import RunFolder
    from ..batch.grid import cells, parse_axis, table, write_tables
    from ..picture.masks import mask_to_uri

    asked, loaded, mask_array = read_inputs(image, prompt, drag, mask, region, request, settings)
    asked = replace(asked, mask=None if mask_array is None else mask_to_uri(mask_array))
    axes = [parse_axis(text) for text in vary or ()]
    where = Where(device, devices, ray, workers, threads)
    how = f"{dtype} {attention} {vae}"
    grid = cells(axes, Path(image), loaded, asked, how=how, together=where.alone)
    folder = Path(output_dir or beside(image, "-sweep"))

    def write() -> list[dict[str, Any]]:
        found = table(grid, RunFolder(folder).rows())
        if found:  # else the folder may be somebody else's
            write_tables(folder, found, loaded.visible, [name for name, _ in axes], columns=len(axes[-1][1]))
        return found

    try:
        outcome = run_tasks(
            [cell.task for cell in grid],
            folder,
            {
                **facts(f"{Path(image).name}, {len(grid)} edits", 1, [asked.settings.seed]),
                "arms": {cell.task.arm: {**cell.task.settings, **cell.varied} for cell in grid},
                "metrics": {},
            },
            {"source": model, "dtype": dtype, "attention": attention, "vae": vae},
            where=where,
            quiet=quiet,
            line=lambda row: f"{row['distance_left']:.1f} px left",
        )
    except DragTextError:
        with suppress(InputError):  # what is done, if it can be; the reason for the end says more
            write()
        raise
    rows = write()
    if json_:
        put_json({**outcome, "rows": rows})
        return
    for row in rows:
        varied = "  ".join(f"{name} {row[name]}" for name, _ in axes)
        spent = "" if row["error"] else f"{row['updates']} updates  {row['seconds']:.1f} s"
        went = row["error"] or f"{row['distance_left']:6.1f} px left  {spent}"
        put(f"{varied}  {went}")
    put(f"Saved {folder / 'table.csv'}, table.json and contact.png")
