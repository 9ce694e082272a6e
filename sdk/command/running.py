"""What commands have in common that do many edits: where they run, how they tell of it, how they are stopped."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from ..errors import InputError
from .console import put, put_json, say
from .information import versions
from .stopping import interruptible

if TYPE_CHECKING:
    from ..batch.tasks import Task
    from ..batch.worker import Judge, Row

DevicesOption = Annotated[
    Optional[str], typer.Option(help="one process on each, for example cuda:0,cuda:1; cpu,cpu works too")
]
RayOption = Annotated[
    Optional[str], typer.Option("--ray", help="address of a Ray cluster, or local; needs dragtext[ray]")
]
WorkersOption = Annotated[Optional[int], typer.Option(min=1, help="of the Ray cluster [one per GPU]")]
ThreadsOption = Annotated[Optional[int], typer.Option(min=1, help="of torch in every worker")]
RunOption = Annotated[Optional[str], typer.Option("--output-dir", "-o", help="the run's folder; goes on with one")]


@dataclass(frozen=True)
class Where:
    """Who does a run, as the options say: at the most one of device, devices (separated by commas) and ray."""

    device: str | None = None
    devices: str | None = None
    ray: str | None = None
    workers: int | None = None
    threads: int | None = None

    @property
    def places(self) -> list[str]:
        return listed(self.devices or "")

    @property
    def alone(self) -> bool:
        """Whether one worker does all of it."""
        return self.ray is None and len(self.places) < 2

    def check(self) -> None:
        """Raises InputError."""
        if sum(way is not None for way in (self.ray, self.devices, self.device)) > 1:
            raise InputError("Give one of --device, --devices and --ray.")
        if self.devices is not None and not self.places:
            raise InputError("--devices names none; write it like --devices cuda:0,cuda:1.")
        if self.ray is None and self.workers is not None:
            raise InputError("--workers counts those of a Ray cluster; give --ray, too, or --devices.")


def facts(title: str, items: int, seeds: Sequence[int]) -> dict[str, Any]:
    """What every run's manifest says."""
    command = shlex.join(["dragtext", *sys.argv[1:]])
    return {"title": title, "command": command, "versions": versions(), "items": items, "seeds": list(seeds)}


def listed(text: str) -> list[str]:
    """What stands between the commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def run_tasks(
    tasks: Sequence[Task],
    folder: Path,
    manifest: Mapping[str, Any],
    model: Mapping[str, Any],
    *,
    where: Where,
    judge: Judge | None = None,
    quiet: bool = False,
    line: Callable[[Row], str] = lambda row: "",
) -> dict[str, Any]:
    """Do what is not done yet, and say how it went. line: what is told of a row besides its name.

    Returns {"folder", "done", "failed", "left"}. Raises InputError, and InterruptedEditError once it was stopped.
    """
    from ..batch.executors import processes, serial
    from ..batch.folder import RunFolder
    from ..batch.tasks import grouped
    from ..batch.worker import Plan

    where.check()
    groups = grouped(tasks)
    run = RunFolder.begin(folder, manifest)
    plan = Plan(folder, model, judge, where.threads)
    total = sum(len(group.tasks) for group in groups)
    keys = {task.key for task in tasks}
    told = [len(run.done() & keys)]
    if told[0] and not quiet:
        say(f"{told[0]} of {total} are done already.")

    def on_row(row: Row) -> None:
        told[0] += 1
        if not quiet:
            spent = sum(row.get("seconds", {}).values())
            rest = f"failed: {row['error']}" if row["error"] else f"{spent:.1f} s  {line(row)}"
            say(f"[{told[0]}/{total}] {row['item']}  {row['arm']}  {rest}".rstrip())

    with interruptible("edits in hand are finished, and the same command goes on from there") as stop:
        if where.ray is not None:
            from ..batch.on_ray import Cluster, on_ray

            on_ray(plan, groups, Cluster(where.ray, where.workers), on_row, stop)
        elif where.places:
            processes(plan, groups, where.places, on_row, stop)
        else:
            serial(plan, groups, where.device, on_row, stop)
        rows = {key: row for key, row in run.rows().items() if key in keys}
        failed = sum(bool(row["error"]) for row in rows.values())
        left = total - len(rows)
        if stop():
            raise stop.error(f"Stopped after {len(rows)} of {total} edits; the same command goes on from there.")
    if left:
        say(f"{left} edits are in the hands of other processes, or of none that lives; the same command looks again.")
    return {"folder": str(folder), "done": len(rows) - failed, "failed": failed, "left": left}


def tell(outcome: Mapping[str, Any], as_json: bool, then: str = "") -> None:
    """What a run came to."""
    if as_json:
        put_json(outcome)
        return
    failed = f", {outcome['failed']} failed (see rows.jsonl)" if outcome["failed"] else ""
    put(f"{outcome['done']} edits in {outcome['folder']}{failed}{then}")
