"""Edits as jobs: one queue and worker, behind the host's own queue; states that outlive a page, results for a while."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from ..sdk.editor import Editor
from ..sdk.errors import DragTextError, InputError, InterruptedEditError
from ..sdk.model import cache
from ..sdk.model.memory import memory_errors
from ..sdk.picture.frame import Frame
from ..sdk.picture.masks import load_mask
from ..sdk.picture.reading import LoadedImage, load_image, to_pil
from ..sdk.render.rendering import check_point
from ..sdk.request import Request
from ..sdk.result import PHASES, EditResult, Progress
from .hosts.base import Host, Notice
from .infotext import write_infotext

log = logging.getLogger("dragtext")

State = Literal["queued", "running", "done", "failed", "interrupted"]
MAX_WAITING = 32
KEPT_EDITORS = 2  # pictures whose inversion and LoRA stay in memory
PREVIEW_SIDE = 512


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


@dataclass
class Job:
    """One edit and what is known of it. Written by the worker, read by anyone.

    picture: the opened image; request: drags, prompt, settings; mask: (H, W) bool or None. points: where the handles
    are, (x, y) pixels of the picture; version: counts the previews. result, fingerprint (of the model), infotext,
    saved, note (what else there is to say): at the end. eta: seconds left of the running phase.
    """

    id: str
    picture: LoadedImage
    request: Request
    mask: np.ndarray | None
    save: bool = True
    state: State = "queued"
    phase: str = "waiting"
    step: int = 0
    total: int = 0
    distance: float | None = None
    points: tuple[tuple[float, float], ...] = ()
    preview: Image.Image | None = None
    version: int = 0
    error: DragTextError | None = None
    result: EditResult | None = None
    fingerprint: str = ""
    infotext: str = ""
    saved: Path | None = None
    note: str = ""
    phase_started: float = 0.0
    stop: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def eta(self) -> float | None:
        if self.state != "running" or not self.step or not self.total:
            return None
        return (time.time() - self.phase_started) / self.step * (self.total - self.step)


class Jobs:
    """The queue of one process."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._tasks: deque[tuple[Job | None, Callable[[], None]]] = deque()
        self._changed = threading.Condition()
        self._worker: threading.Thread | None = None
        self._editors: OrderedDict[str, Editor] = OrderedDict()
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
                outcome.append(self._render(job, result, v, text))
            except BaseException as error:  # it is raised again where it is waited for
                outcome.append(error)
            finally:
                done.set()

        with self._changed:
            self._check_room()
            self._add(None, task)
        while not done.wait(0.5):
            if self._closed:
                raise ClosedError("The WebUI is being reloaded; try again in a moment.")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    @property
    def closed(self) -> bool:
        return self._closed

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

    def configure_cache(self) -> None:
        """Tell the SDK where the host wants its cache, and how large."""
        cache.configure(self.host.cache_folder, float(self.host.option("cache_limit_mb")))

    def forget_editors(self) -> None:
        """Drop what is kept in memory for the next drag on the same picture."""
        with self._changed:
            self._editors.clear()

    # The worker.

    def _check_room(self) -> None:
        if self._closed:
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
                    job.state = "running"
                error = self.host.call(lambda: self._attempt(job))
        except BaseException as problem:  # the host's own queue or progress; a job that never ends would be waited for
            log.exception("The edit %s could not be run", job.id)
            error = _explained(problem)
        state: State = "done" if error is None else "failed"
        if isinstance(error, InterruptedEditError):
            state = "interrupted"
        with self._changed:
            self._finish(job, state, error)
            self._drop_old()

    def _attempt(self, job: Job) -> DragTextError | None:
        """Run the edit; never raises, since some hosts lose what is raised in their own thread."""
        try:
            with memory_errors():
                self._edit(job)
        except DragTextError as error:
            return error
        except Exception as error:
            log.exception("The edit %s failed", job.id)
            return _explained(error)
        return None

    def _edit(self, job: Job) -> None:
        self.configure_cache()
        strength = job.request.settings.resolve().strength
        with self.host.lend(job.request.prompt, strength) as model:
            editor = self._editor(job, model)
            with editor.attached(model):
                try:
                    result = editor.drag(
                        job.request.drags,
                        mask=job.mask,
                        settings=job.request.settings,
                        on_progress=lambda event: self._report(job, event),
                        should_stop=lambda: self._should_stop(job),
                    )
                except RuntimeError:
                    self.host.check()  # a model that went away breaks with torch's words; say what happened
                    raise
            job.infotext, job.fingerprint = write_infotext(result), model.fingerprint
        job.result = replace(result, rendering=result.rendering.with_model(None))
        if job.save:
            request = result.request
            try:
                job.saved = self.host.save(
                    result.image, job.infotext, request.to_json(), request.prompt, request.settings.seed
                )
            except Exception as error:  # a full disk, or another extension's callback, must not cost the result
                job.note = f"The result could not be saved ({getattr(error, 'strerror', None) or error})."
                log.warning(job.note)

    def _editor(self, job: Job, model: Any) -> Editor:
        rgb, alpha = job.picture.rgb, job.picture.alpha
        seen = (rgb.shape, rgb.tobytes(), b"" if alpha is None else alpha.tobytes())
        key = cache.make_key(model.fingerprint, *seen, job.request.prompt)
        with self._changed:
            editor = self._editors.pop(key, None) or Editor(model, to_pil(rgb, alpha), job.request.prompt)
            self._editors[key] = editor
            while len(self._editors) > KEPT_EDITORS:
                self._editors.popitem(last=False)
        return editor

    def _should_stop(self, job: Job) -> bool:
        self.host.check()
        return job.stop or self.host.interrupted()

    def _report(self, job: Job, event: Progress) -> None:
        phase = PHASES[event.phase]
        if phase != job.phase:
            job.phase, job.phase_started = phase, time.time()
        job.step, job.total = event.done, event.total
        every = int(self.host.option("preview_every") or 0)
        if event.step is not None:
            job.distance, job.points = event.distance, event.points
            if event.preview is not None and every and event.step.iteration % every == 0:
                job.preview = small(event.preview(), PREVIEW_SIDE)
                job.version += 1
        text = f"DragText: {phase} {event.done}/{event.total}"
        if event.distance is not None:
            text += f", {event.distance:.0f} px left"
        self.host.show(Notice(text, event.done, event.total, job.preview))

    def _render(self, job: Job, result: EditResult, v: float, text: float | None) -> Image.Image:
        def draw() -> Image.Image | Exception:
            try:
                with memory_errors(), self.host.lend(result.request.prompt, result.settings.strength) as model:
                    if model.fingerprint == job.fingerprint:
                        return result.rendering.with_model(model).at(v, text)
                return InputError(f"This edit was made with {result.model}; select that checkpoint again.")
            except Exception as error:
                return error

        with self.host.turn(f"{job.id} v={v:g}"):
            drawn = self.host.call(draw)
        if isinstance(drawn, Exception):
            raise drawn if isinstance(drawn, DragTextError) else _explained(drawn)
        return drawn

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


def small(picture: Image.Image, side: int) -> Image.Image:
    """At most `side` pixels on the longer side."""
    picture = picture.copy()
    picture.thumbnail((side, side))
    return picture


def _explained(error: BaseException) -> DragTextError:
    reason = " ".join(str(error).split())[:300]
    return DragTextError(
        f"{type(error).__name__}: {reason}; please report it with the WebUI's log, where the details are."
    )
