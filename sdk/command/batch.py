"""`dragtext batch`: many edits of one's own."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import InputError
from .arguments import (
    AttentionOption,
    DeviceOption,
    DtypeOption,
    JsonOption,
    ModelOption,
    QuietOption,
    VaeOption,
    setting_options,
)
from .running import (
    DevicesOption,
    RayOption,
    RunOption,
    ThreadsOption,
    Where,
    WorkersOption,
    facts,
    run_tasks,
    tell,
)


@setting_options
def batch(
    what: Annotated[
        str, typer.Argument(help="a folder of samples (NAME.json beside NAME.png, DragBench, ...) or a .jsonl file")
    ],
    limit: Annotated[Optional[int], typer.Option(min=1, help="items [all]")] = None,
    model: ModelOption = None,
    vae: VaeOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    attention: AttentionOption = "sdpa",
    output_dir: RunOption = None,
    devices: DevicesOption = None,
    ray: RayOption = None,
    workers: WorkersOption = None,
    threads: ThreadsOption = None,
    json_: JsonOption = False,
    quiet: QuietOption = False,
    **settings: Any,
) -> None:
    """Do many edits from a folder or a file of requests, on one device, several or a cluster. Resumes after a stop."""
    from ..batch.tasks import RequestSource, Task
    from ..evaluation.readers import SCENES, read_items
    from ..settings import given_settings, make_settings

    if what == SCENES:
        raise InputError("The scenes are there to be measured; use `dragtext bench scenes`.")
    given = {name: value for name, value in settings.items() if value is not None}
    tasks = []
    for item in islice(read_items(what), limit):
        assert isinstance(item.source, RequestSource)  # what all readers but that of scenes give
        asked = make_settings(given, item.source.request.settings)
        values = given_settings(asked)
        tasks.append(
            Task(item.name, item.group, "edit", values.pop("seed", asked.seed), item.source, values, item.category)
        )
    folder = Path(output_dir or f"{Path(what).stem}-dragged")
    outcome = run_tasks(
        tasks,
        folder,
        {
            **facts(f"{Path(what).name}, {len(tasks)} edits", len(tasks), sorted({task.seed for task in tasks})),
            "arms": {"edit": given},
            "metrics": {},
        },
        {"source": model, "dtype": dtype, "attention": attention, "vae": vae},
        where=Where(device, devices, ray, workers, threads),
        quiet=quiet,
        line=lambda row: f"{row['distance_left']:.1f} px left",
    )
    tell(outcome, json_)
    if outcome["failed"]:
        raise InputError(
            f"{outcome['failed']} edits failed, and rows.jsonl in {folder} says why; the same command tries again."
        )
