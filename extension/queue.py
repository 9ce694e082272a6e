"""The jobs of one process: one queue and worker, behind the host's own queue; states that outlive a page, and results
for a while, within a budget."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from ..sdk.errors import DragTextError, InputError, InterruptedEditError
from ..sdk.picture.masks import load_mask, load_regions, mask_to_uri
from ..sdk.render.rendering import check_point
from ..sdk.request import Request
from .editing import Editing, explained
from .hosts.base import Host
from .job import EditJob, Job, RenderJob, State
from .limits import check_request
from .options import number
from .pictures import DECODING, Picture, Pictures, png_of, read_picture

log = logging.getLogger("dragtext")

MAX_WAITING = 32
MAX_WAITING_BYTES = 512 * 2**20  # of picture files
RENDERS_KEPT = 30
ENDED_KEPT = 100  # without a result: only their state is left


class QueueFullError(DragTextError):
    """Too many jobs are waiting."""


class UnknownJobError(DragTextError):
    """There is no such job, or no longer."""


class NotFinishedError(DragTextError):
    """The job has no result yet, or never will."""


class DuplicateJobError(DragTextError):
    """A job of this id exists already."""


class ClosedError(DragTextError):
    """The queue has ended with the page that it belonged to."""


class Jobs:
    """The queue of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.pictures = Pictures()
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._editing = Editing(host)
        self._closed = False

    def submit(
        self,
        image: Any,
        request: Request,
        mask: Any = None,
        *,
        save: bool = True,
        identifier: str | None = None,
        owner: str = "",
    ) -> EditJob:
        """Check everything that can be checked without a model, and queue the edit.

        image: a `Picture`, or as for `Editor`; mask: as for `load_mask`, in place of the request's; owner: the page
        that asks. Only files are kept while it waits. Raises InputError, QueueFullError, DuplicateJobError.
        """
        with self._changed:
            self._check_room()
        picture = image if isinstance(image, Picture) else read_picture(image)
        check_request(request, picture.size)
        request = replace(request, region=_regions(request.region, picture.size))
        job = EditJob(
            identifier or uuid.uuid4().hex,
            request,
            save=save,
            owner=owner,
            picture=picture,
            size=picture.size,
            mask=None if mask is None else _mask_file(mask, picture.size),
            estimate=self._editing.estimate(),
        )
        self._add(job)
        return job

    def submit_render(
        self, edit: Job, v: float, text: float | None = None, *, save: bool = False, owner: str = ""
    ) -> RenderJob:
        """Queue another point of a finished edit (`EditResult.at`).

        Raises InputError, NotFinishedError, QueueFullError.
        """
        at = check_point((v, v if text is None else text))
        done = finished_edit(edit)
        job = RenderJob(uuid.uuid4().hex, done.request, save=save, owner=owner, edit=done, at=at)
        self._add(job)
        return job

    def get(self, identifier: str) -> Job:
        with self._changed:
            job = self._jobs.get(identifier)
        if job is None:
            raise UnknownJobError(f"There is no edit {identifier[:80]}; finished ones are kept for a while only.")
        return job

    def all(self) -> list[Job]:
        """Every job that is known, oldest first."""
        with self._changed:
            return list(self._jobs.values())

    def position(self, job: Job) -> int:
        """How many jobs are before this one; 0 once it runs."""
        with self._changed:
            waiting = [other for other in self._jobs.values() if not other.ended.is_set()]
        return waiting.index(job) if job in waiting else 0

    def interrupt(self, job: Job) -> None:
        """Stop as soon as possible and keep the best so far; a job that waits ends at once."""
        job.stop = True
        with self._changed:
            if job.state == "queued":
                if job in self._waiting:
                    self._waiting.remove(job)
                self._finish(job, "interrupted", InterruptedEditError("Stopped while it waited."))
                self._drop_old()

    def forget(self, job: Job) -> None:
        """Stop a job and keep nothing of it."""
        self.interrupt(job)
        with self._changed:
            self._drop(job)

    @property
    def closed(self) -> bool:
        """Nothing is taken on any more, and nobody should wait for what is not finished."""
        return self._closed or self.host.ending

    def close(self, wait: float = 0.0) -> bool:
        """Stop what runs, forget what waits, and end the worker; for a reload of the host's page and for its end.

        wait: seconds to give the worker, which keeps the best so far of what it is at. Returns whether it has ended.
        """
        with self._changed:
            self._closed = True
            self._waiting.clear()
            for job in self._jobs.values():
                job.stop = True
                if job.state == "queued":
                    self._finish(job, "interrupted", InterruptedEditError("The program that ran the edits was ended."))
            self._changed.notify_all()
            worker = self._worker
        if worker is None:
            return True
        if wait:
            deadline = time.monotonic() + wait
            while worker.is_alive() and time.monotonic() < deadline:
                worker.join(0.2)  # short, so that a signal is heard
        return not worker.is_alive()

    def forget_editors(self) -> None:
        """Drop what is kept in memory for the next drag on the same picture."""
        self._editing.forget()

    def configure_cache(self) -> None:
        """Tell the SDK where the host wants its cache, and how large."""
        self._editing.configure_cache()

    # The worker.

    def _check_room(self) -> None:
        if self.closed:
            raise ClosedError("The WebUI is being reloaded; try again in a moment.")
        if len(self._waiting) >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} edits are waiting already; try again later.")
        if sum(job.waiting_bytes for job in self._waiting) > MAX_WAITING_BYTES:
            raise QueueFullError("The pictures that wait already take too much memory; try again later.")

    def _add(self, job: Job) -> None:
        with self._changed:
            if job.id in self._jobs:
                raise DuplicateJobError(f"The edit {job.id} has been submitted already; ask for its state.")
            self._check_room()
            self._jobs[job.id] = job
            self._waiting.append(job)
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="dragtext", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                job = self._waiting.popleft()
            try:
                self._run(job)
            except BaseException as problem:  # nothing may end the worker, and no job may be waited for without end
                log.exception("The job %s could not be run", job.id)
                with self._changed:
                    self._finish(job, "failed", explained(problem))
            del job  # what it holds must not wait here for the next one

    def _run(self, job: Job) -> None:
        try:
            with self.host.turn(job.id):
                with self._changed:
                    if job.state != "queued":
                        return
                    if self.closed:
                        self._finish(job, "interrupted", InterruptedEditError("The WebUI was reloaded."))
                        return
                    job.state = "running"
                error = self.host.call(lambda: self._editing.attempt(job))
        except BaseException as problem:  # the host's own queue or progress
            log.exception("The job %s could not be run", job.id)
            error = explained(problem)
        state: State = "done" if error is None else "failed"
        if isinstance(error, InterruptedEditError):
            state = "interrupted"
        with self._changed:
            self._finish(job, state, error)
            self._drop_old()

    def _finish(self, job: Job, state: State, error: DragTextError | None) -> None:
        if error is not None:
            # The frames that it came through hold the model, the editor and, out of memory, a whole graph.
            error.__traceback__ = error.__cause__ = error.__context__ = None
        job.state, job.error = state, error
        job.release()
        job.ended.set()

    def _drop_old(self) -> None:
        """Forget the oldest outcomes over number and budget. What ended without one never drops a result."""
        ended = [job for job in self._jobs.values() if job.ended.is_set()]
        empty = [job for job in ended if job.image is None]
        edits = [job for job in ended if job.image is not None and isinstance(job, EditJob)]
        renders = [job for job in ended if job.image is not None and isinstance(job, RenderJob)]
        for job in [*empty[:-ENDED_KEPT], *renders[:-RENDERS_KEPT], *edits[: -int(number(self.host, "results_kept"))]]:
            self._drop(job)
        budget = number(self.host, "results_limit_mb") * 2**20
        kept = [job for job in [*renders, *edits] if job.id in self._jobs]
        used = sum(job.result_bytes for job in kept)
        for job in kept[:-1]:
            if used > budget and job.id in self._jobs:
                self._drop(job)
                used = sum(other.result_bytes for other in kept if other.id in self._jobs)

    def _drop(self, job: Job) -> None:
        """Forget a job, and what was rendered from it."""
        self._jobs.pop(job.id, None)
        for other in list(self._jobs.values()):
            if isinstance(other, RenderJob) and other.edit is job and other.ended.is_set():
                del self._jobs[other.id]


def finished_edit(job: Job) -> EditJob:
    """The edit with its result, or NotFinishedError with the reason why there is none."""
    finished_picture(job)
    edit = job.edit if isinstance(job, RenderJob) else job
    if not isinstance(edit, EditJob) or edit.result is None:
        raise NotFinishedError("The edit has no result any more; drag again.")
    return edit


def finished_picture(job: Job) -> Image.Image:
    """What a job has made, or NotFinishedError with the reason why there is nothing."""
    if job.image is None or not job.ended.is_set():
        if job.error is not None:
            raise NotFinishedError(f"The edit has no result: {job.error}")
        raise NotFinishedError(f"The edit is not finished ({job.phase}); ask again later.")
    return job.image


def _regions(region: str | tuple[str, ...] | None, size: tuple[int, int]) -> tuple[str, ...] | None:
    """A request's regions as small data URIs. Raises InputError for those that do not fit, and for a path."""
    if region is None:
        return None
    given = (region,) if isinstance(region, str) else region
    if not all(one.startswith("data:") for one in given):
        raise InputError("A region is a PNG in base64 here, beginning with data:image/png;base64,")
    with DECODING:
        return tuple(mask_to_uri(one) for one in load_regions(given, size))


def _mask_file(mask: Any, size: tuple[int, int]) -> bytes:
    """A mask that fits the picture, as a small PNG. Raises InputError."""
    if isinstance(mask, Picture):
        mask = mask.data
    with DECODING:
        array = load_mask(mask, size)
    return png_of(Image.fromarray(array.astype(np.uint8) * 255).convert("1"))
