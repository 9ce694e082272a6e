"""How long what is over is kept: by number, and within a budget of memory."""

from __future__ import annotations

from collections.abc import Iterable

from .hosts.base import Host
from .job import QUICK, EditJob, Job
from .options import number

POINTS_KEPT = 30  # renders and strips
QUICK_KEPT = 4
ENDED_KEPT = 100  # without a result: only their state is left


def to_forget(jobs: Iterable[Job], host: Host) -> list[Job]:
    """The oldest outcomes over number and budget. What ended without one never drops a result; the newest result stays,
    whatever it takes. jobs: oldest first."""
    ended = [job for job in jobs if job.ended.is_set()]
    quick = [job for job in ended if job.rank == QUICK]
    empty = [job for job in ended if job.rank != QUICK and not job.result_bytes]
    edits = [job for job in ended if job.rank != QUICK and job.result_bytes and isinstance(job, EditJob)]
    points = [job for job in ended if job.result_bytes and not isinstance(job, EditJob)]
    most = int(number(host, "results_kept"))
    dropped = [*quick[:-QUICK_KEPT], *empty[:-ENDED_KEPT], *points[:-POINTS_KEPT], *edits[:-most]]
    budget = number(host, "results_limit_mb") * 2**20
    # What was rendered goes with its edit.
    gone = {job.id for job in dropped}
    kept = [job for job in [*quick, *points, *edits] if job.id not in gone and job.origin.id not in gone]
    used = sum(job.result_bytes for job in kept)
    for job in kept[:-1]:
        if used > budget:
            dropped.append(job)
            used -= job.result_bytes
    return dropped
