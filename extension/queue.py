"""Edits as jobs: one queue and worker, behind the host's own queue; states that outlive a page, results for a while."""

from __future__ import annotations

import logging
import threading
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from PIL import Image

from ..sdk.errors import DragTextError, InputError, InterruptedEditError
from ..sdk.picture.frame import Frame
from ..sdk.picture.masks import load_mask
from ..sdk.picture.reading import load_image
from ..sdk.render.rendering import check_point
from ..sdk.request import Request
from ..sdk.result import EditResult
from .editing import Editing, explained
from .hosts.base import Host
from .job import Job, State

log = logging.getLogger("dragtext")

MAX_WAITING = 32


class QueueFullError(DragTextError):
    """Too many edits are waiting."""


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
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: deque[tuple[Job | None, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._editing = Editing(host)
        self._closed = False

    def submit(
        self, image: Any, request: Request, mask: Any = None, *, save: bool = True, identifier: str | None = None
    ) -> Job:
        """Check everything that can be checked without a model, and queue the edit.

        image: as for `Editor`; mask: as for `load_mask`, in place of the request's. Raises InputError,
        QueueFullError, DuplicateJobError.
        """
        with self._changed:
            self._check_room()
        picture = load_image(image)
        size = picture.rgb.shape[:2]
        check_drags(request, size)
        array = None if mask is None else load_mask(mask, size)
        job = Job(identifier or uuid.uuid4().hex, picture, request, array, save)
        with self._changed:
            if job.id in self._jobs:
                raise DuplicateJobError(f"The edit {job.id} has been submitted already; ask for its state.")
            self._check_room()
            self._jobs[job.id] = job
            self._add(job, lambda: self._run(job))
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
        """How many edits are before this one; 0 once it runs."""
        with self._changed:
            waiting = [other for other in self._jobs.values() if other.state in ("queued", "running")]
        return waiting.index(job) if job in waiting else 0

    def interrupt(self, job: Job) -> None:
        """Stop as soon as possible and keep the best so far; a job that waits ends at once."""
        job.stop = True
        with self._changed:
            if job.state == "queued":
                self._tasks = deque(task for task in self._tasks if task[0] is not job)
                self._finish(job, "interrupted", InterruptedEditError("Stopped while it waited."))
                self._drop_old()

    def render(self, job: Job, v: float, text: float | None = None) -> Image.Image:
        """The edit at another point of its way (`EditResult.at`), in its turn. Blocks until it is done."""
        v, text = check_point((v, v if text is None else text))
        result = finished_result(job)
        done = threading.Event()
        outcome: list[Any] = []

        def task() -> None:
            try:
                outcome.append(self._editing.render(job, result, v, text))
            except BaseException as error:  # it is raised again where it is waited for
                outcome.append(error)
            finally:
                done.set()

        with self._changed:
            self._check_room()
            self._add(None, task)
        while not done.wait(0.5):
            if self.closed:
                raise ClosedError("The WebUI is being reloaded; try again in a moment.")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    @property
    def closed(self) -> bool:
        """Nothing is taken on any more, and nobody should wait for what is not finished."""
        return self._closed or self.host.ending

    def close(self) -> None:
        """Stop what runs, forget what waits, and end the worker; for a reload of the host's page."""
        with self._changed:
            self._closed = True
            self._tasks.clear()
            for job in self._jobs.values():
                job.stop = True
                if job.state == "queued":
                    self._finish(job, "interrupted", InterruptedEditError("The WebUI was reloaded."))
            self._changed.notify_all()

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
        if len(self._tasks) >= MAX_WAITING:
            raise QueueFullError(f"{MAX_WAITING} edits are waiting already; try again later.")

    def _add(self, job: Job | None, task: Callable[[], None]) -> None:
        self._tasks.append((job, task))
        if self._worker is None or not self._worker.is_alive():
            self._worker = threading.Thread(target=self._work, name="dragtext", daemon=True)
            self._worker.start()
        self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._tasks and not self._closed:
                    self._changed.wait()
                if not self._tasks:
                    return
                _, task = self._tasks.popleft()
            task()

    def _run(self, job: Job) -> None:
        if job.state != "queued":
            return
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
        except BaseException as problem:  # the host's own queue or progress; a job that never ends would be waited for
            log.exception("The edit %s could not be run", job.id)
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
        job.ended.set()

    def _drop_old(self) -> None:
        finished = [job.id for job in self._jobs.values() if job.ended.is_set()]
        keep = max(1, int(self.host.option("results_kept") or 1))
        for identifier in finished[: max(0, len(finished) - keep)]:
            del self._jobs[identifier]


def check_drags(request: Request, size: tuple[int, ...]) -> None:
    """Raise InputError where the drags do not fit the picture (height, width)."""
    if not request.drags:
        raise InputError("There are no drags; give at least one handle point and its target.")
    Frame.of(*size[:2]).check_points(request.drags)


def finished_result(job: Job) -> EditResult:
    """The result, or NotFinishedError with the reason why there is none."""
    if job.result is None or not job.ended.is_set():
        if job.error is not None:
            raise NotFinishedError(f"The edit has no result: {job.error}")
        raise NotFinishedError(f"The edit is not finished ({job.phase}); ask again later.")
    return job.result
