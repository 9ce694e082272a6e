"""Who does a run's groups: this process, or one process per device. Ray's workers are in `on_ray`."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from typing import Any

from ..errors import DragTextError, InputError
from .folder import RunFolder
from .tasks import Group
from .worker import OnRow, Plan, ShouldStop, Worker, undone

_LOOK = 0.2  # seconds between two looks at the workers
_TRIES = 3  # how often a run begins anew with what workers that died have left


def serial(plan: Plan, groups: Sequence[Group], device: str | None, on_row: OnRow, should_stop: ShouldStop) -> None:
    """All groups in this process. What other processes work on at the moment is left to them."""
    worker = Worker(plan, device)
    for group in undone(RunFolder(plan.folder), groups):
        if should_stop():
            return
        worker.do(group, on_row, should_stop)


def processes(
    plan: Plan, groups: Sequence[Group], devices: Sequence[str], on_row: OnRow, should_stop: ShouldStop
) -> None:
    """A process per device, each taking the next group that nobody has.

    What a process leaves that dies is done by another, up to three times. Once `should_stop` says so, each finishes the
    edit in hand. Raises what a worker could not go on for, as a model that does not load.
    """
    folder = RunFolder(plan.folder)
    if plan.threads is None and all(device.startswith("cpu") for device in devices):
        plan = replace(plan, threads=max(1, (os.cpu_count() or 1) // len(devices)))
    for _ in range(_TRIES):
        left = undone(folder, groups)
        if not left or should_stop():
            return
        if not _round(plan, left, devices[: len(left)], on_row, should_stop):
            return
    if undone(folder, groups):
        raise InputError(
            f"Workers ended by themselves {_TRIES} times, for example for want of memory; give fewer --devices. The "
            "same command goes on from what is done."
        )


def _round(plan: Plan, groups: Sequence[Group], devices: Sequence[str], on_row: OnRow, should_stop: ShouldStop) -> bool:
    """Let workers do the groups; whether one of them died."""
    context = multiprocessing.get_context("spawn")
    workers: dict[Any, Any] = {}  # by the line to each: nothing is shared that a killed process could hold on to
    try:
        for device in devices:
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(plan, groups, device, theirs))
            worker.start()
            theirs.close()  # so that its end is noticed
            workers[ours] = worker
        _listen(list(workers), on_row, should_stop)
    except BaseException:
        for worker in workers.values():
            worker.terminate()
        raise
    finally:
        for worker in workers.values():
            worker.join()
    return any(worker.exitcode for worker in workers.values())


def _listen(lines: list[Connection], on_row: OnRow, should_stop: ShouldStop) -> None:
    """Pass on what workers say until all have ended. Raises the error that one of them ended with."""
    told = False
    while lines:
        if should_stop() and not told:
            told = True
            for line in lines:
                with suppress(OSError):
                    line.send("stop")
        for line in wait(lines, _LOOK):
            assert isinstance(line, Connection)
            try:
                news = line.recv()
            except (EOFError, OSError):  # it ended, in the middle of a word if it was killed
                lines.remove(line)
                continue
            if isinstance(news, DragTextError):
                raise news
            on_row(news)


def _work(plan: Plan, groups: Sequence[Group], device: str, line: Any) -> None:
    """A worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal tells all of them; who began the run decides
    try:
        worker = Worker(plan, device)
        for group in groups:
            if line.poll():
                break
            worker.do(group, line.send, line.poll)
    except DragTextError as error:
        line.send(error)
