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

from PIL import Image

from ..sdk.errors import DragTextError, InterruptedEditError
from ..sdk.model.means import Choice
from ..sdk.render.rendering import check_point
from ..sdk.request import Request
from ..sdk.settings import Settings
from .editing import Editing, explained
from .estimate import Estimate
from .expectation import Expected
from .hosts.base import Host
from .job import ASKED, QUICK, EditJob, Job, RenderJob, State
from .keeping import to_forget
from .limits import check_request, with_small_masks
from .pictures import Picture, Pictures, read_picture
from .quick import quick_settings
from .strips import StripJob

log = logging.getLogger("dragtext")

MAX_WAITING = 32
MAX_WAITING_BYTES = 512 * 2**20  # of picture files


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
        *,
        save: bool = True,
        quick: bool = False,
        identifier: str | None = None,
        owner: str = "",
        here: bool = False,
    ) -> EditJob:
        """Check everything that can be checked without a model, and queue the edit.

        image: a `Picture`, or as for `Editor`; the request's mask and regions are data URIs here; quick: only to show
        how it would be, in place of an older such one of the same page; owner: the page that asks; here: as for
        `submit_render`. Only files are kept while it waits. Raises InputError, QueueFullError, DuplicateJobError.
        """
        with self._changed:
            self._check_room(QUICK if quick else ASKED)
        picture = image if isinstance(image, Picture) else read_picture(image)
        check_request(request, picture.size)
        request = with_small_masks(request, picture.size)
        if quick:
            request = replace(request, settings=quick_settings(request.settings))
        job = EditJob(
            identifier or uuid.uuid4().hex,
            request,
            save=save and not quick,
            owner=owner,
            picture=picture,
            quick=quick,
            estimate=Estimate() if quick else self._editing.estimate(),
        )
        self._add(job, here)
        return job

    def submit_render(
        self, edit: Job, v: float, text: float | None = None, *, save: bool = False, owner: str = "", here: bool = False
    ) -> RenderJob:
        """Queue another point of a finished edit (`EditResult.at`).

        here: do it at once in this thread, which holds the host's lock, as in the middle of a generation; the job has
        ended on return. Raises InputError, NotFinishedError, QueueFullError.
        """
        at = check_point((v, v if text is None else text))
        done = finished_edit(edit)
        job = RenderJob(uuid.uuid4().hex, done.request, save=save, owner=owner, edit=done, at=at)
        self._add(job, here)
        return job

    def submit_strip(self, edit: Job, points: tuple[tuple[float, float], ...], *, owner: str = "") -> StripJob:
        """Queue many points of a finished edit, to be rendered when nobody waits. Raises NotFinishedError,
        QueueFullError."""
        done = finished_edit(edit)
        job = StripJob(uuid.uuid4().hex, done.request, save=False, owner=owner, edit=done, points=points)
        self._add(job)
        return job

    def get(self, identifier: str, asker: str | None = None) -> Job:
        """asker: the page that asks, which sees its own only; None sees all. Raises UnknownJobError."""
        with self._changed:
            job = self._jobs.get(identifier)
        if job is None:
            raise UnknownJobError(f"There is no edit {identifier[:80]}; finished ones are kept for a while only.")
        if not _may_see(job, asker):
            raise UnknownJobError("There is no such edit of this page.")
        return job

    def all(self, asker: str | None = None) -> list[Job]:
        """Every job that is known, oldest first; asker as for `get`."""
        with self._changed:
            return [job for job in self._jobs.values() if _may_see(job, asker)]

    def history(self, asker: str | None = None) -> list[Job]:
        """What somebody asked for, oldest first; asker as for `get`."""
        return [job for job in self.all(asker) if job.rank == ASKED]

    def position(self, job: Job) -> int:
        """How many jobs are before this one; 0 once it runs."""
        with self._changed:
            active = [other for other in self._jobs.values() if not other.ended.is_set()]
        if job not in active or job.state == "running":
            return 0
        here = active.index(job)
        return sum((other.rank, place) < (job.rank, here) for place, other in enumerate(active))

    def interrupt(self, job: Job) -> None:
        """Stop as soon as possible and keep the best so far; a job that waits ends at once."""
        with self._changed:
            self._stop(job, "Stopped while it waited.")
            self._drop_old()

    def _stop(self, job: Job, reason: str) -> None:
        job.stop = True
        if job.state == "queued":
            if job in self._waiting:
                self._waiting.remove(job)
            self._finish(job, "interrupted", InterruptedEditError(reason))

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
                self._stop(job, "The program that ran the edits was ended.")
            self._changed.notify_all()
            worker = self._worker
        if worker is None:
            return True
        if wait:
            deadline = time.monotonic() + wait
            while worker.is_alive() and time.monotonic() < deadline:
                worker.join(0.2)  # short, so that a signal is heard
        return not worker.is_alive()

    def expect(self, picture: Picture, settings: Settings) -> Expected:
        """What an edit will probably take."""
        return self._editing.experience.expect(picture, settings)

    def memory(self, picture: Picture, settings: Settings) -> Choice | None:
        """What an edit needs of the memory there is, and what is done about it; None while that is not known."""
        return self._editing.room.choice(picture, settings)

    def forget_editors(self) -> None:
        """Drop what is kept in memory for the next drag on the same picture."""
        self._editing.forget()

    def configure_cache(self) -> None:
        """Tell the SDK where the host wants its cache, and how large."""
        self._editing.configure_cache()

    # The worker.

    def _check_room(self, rank: int = ASKED) -> None:
        """What goes last keeps no place from what goes first."""
        if self.closed:
            raise ClosedError("The WebUI is being reloaded; try again in a moment.")
        before = [job for job in self._waiting if job.rank <= rank]
        if len(before) >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} edits are waiting already; try again later.")
        if sum(job.waiting_bytes for job in before) > MAX_WAITING_BYTES:
            raise QueueFullError("The pictures that wait already take too much memory; try again later.")

    def _add(self, job: Job, here: bool = False) -> None:
        with self._changed:
            if job.id in self._jobs:
                raise DuplicateJobError(f"The edit {job.id} has been submitted already; ask for its state.")
            self._check_room(job.rank)
            self._make_way(job)
            self._jobs[job.id] = job
            if here:
                job.state = "running"
        if here:
            self._conclude(job, self._attempt(job))
            return
        with self._changed:
            self._waiting.append(job)
            if self._worker is None or not self._worker.is_alive():
                self._worker = threading.Thread(target=self._work, name="dragtext", daemon=True)
                self._worker.start()
            self._changed.notify_all()

    def _make_way(self, job: Job) -> None:
        """A new job ends the quick edits of its page, and what runs stops where it goes behind."""
        for other in list(self._jobs.values()):
            if other.ended.is_set():
                continue
            if other.rank == QUICK and other.owner == job.owner and job.rank <= QUICK:
                self._stop(other, "Another drag came after it.")
            elif other.state == "running" and other.rank > job.rank == ASKED:
                other.gives_way = True

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                job = self._next()
                self._waiting.remove(job)
            try:
                self._run(job)
            except BaseException as problem:  # nothing may end the worker, and no job may be waited for without end
                log.exception("The job %s could not be run", job.id)
                with self._changed:
                    self._finish(job, "failed", explained(problem))
            del job  # what it holds must not wait here for the next one

    def _next(self) -> Job:
        return min(self._waiting, key=lambda job: job.rank)  # the oldest of those that go first

    def _run(self, job: Job) -> None:
        try:
            with self.host.turn(job.id):
                with self._changed:
                    if job.state != "queued":
                        return
                    if self.closed:
                        self._finish(job, "interrupted", InterruptedEditError("The WebUI was reloaded."))
                        return
                    if self._waiting and self._next().rank < job.rank:  # which came while the host was busy
                        self._waiting.appendleft(job)
                        return
                    job.state, job.gives_way = "running", False
                error = self._attempt(job)
        except BaseException as problem:  # the host's own queue or progress
            log.exception("The job %s could not be run", job.id)
            error = explained(problem)
        self._conclude(job, error)

    def _attempt(self, job: Job) -> DragTextError | None:
        try:
            return self.host.call(lambda: self._editing.attempt(job))
        except BaseException as problem:  # the host's own thread
            log.exception("The job %s could not be run", job.id)
            return explained(problem)

    def _conclude(self, job: Job, error: DragTextError | None) -> None:
        gave_way = isinstance(error, InterruptedEditError) and job.gives_way
        with self._changed:
            if job.unfinished and (error is None or gave_way):
                if not job.stop and not self.closed:
                    job.state = "queued"
                    self._waiting.append(job)
                    return
                error = error or InterruptedEditError("Stopped before all of it was rendered.")
            state: State = "done" if error is None else "failed"
            if isinstance(error, InterruptedEditError):
                state = "interrupted"
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
        for job in to_forget(self._jobs.values(), self.host):
            self._drop(job)

    def _drop(self, job: Job) -> None:
        """Forget a job, and what was rendered from it."""
        self._jobs.pop(job.id, None)
        for other in list(self._jobs.values()):
            if other.origin is job and other.ended.is_set():
                del self._jobs[other.id]


def _may_see(job: Job, asker: str | None) -> bool:
    """A page without a name owns nothing: what scripts made is of no page."""
    return asker is None or (asker != "" and job.owner == asker)


def finished_edit(job: Job) -> EditJob:
    """The edit with its result, or NotFinishedError with the reason why there is none."""
    finished_picture(job)
    edit = job.origin
    if edit.result is None:
        raise NotFinishedError("The edit has no result any more; drag again.")
    return edit


def finished_picture(job: Job) -> Image.Image:
    """What a job has made, or NotFinishedError with the reason why there is nothing."""
    if isinstance(job, StripJob):
        raise NotFinishedError("A strip has frames and no picture of its own; ask for these.")
    if job.image is None or not job.ended.is_set():
        if job.error is not None:
            raise NotFinishedError(f"The edit has no result: {job.error}")
        raise NotFinishedError(f"The edit is not finished ({job.phase}); ask again later.")
    return job.image
