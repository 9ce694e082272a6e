"""What an edit on a host does: lend the model, drag, report, save; and render a finished edit again."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from PIL import Image

from ..sdk.editor import Editor
from ..sdk.errors import DragTextError, InputError
from ..sdk.model import cache
from ..sdk.model.memory import memory_errors
from ..sdk.result import PHASES, EditResult, Progress
from .hosts.base import Host, Notice
from .infotext import write_infotext
from .job import Job

log = logging.getLogger("dragtext")

KEPT_EDITORS = 2  # pictures whose inversion and LoRA stay in memory
PREVIEW_SIDE = 512


class Editing:
    """The edits of one host; called by the queue's worker, one at a time."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._editors: OrderedDict[str, Editor] = OrderedDict()
        self._lock = threading.Lock()

    def configure_cache(self) -> None:
        """Tell the SDK where the host wants its cache, and how large."""
        cache.configure(self.host.cache_folder, float(self.host.option("cache_limit_mb")))

    def forget(self) -> None:
        """Drop what is kept in memory for the next drag on the same picture."""
        with self._lock:
            self._editors.clear()

    def attempt(self, job: Job) -> DragTextError | None:
        """Run the edit; never raises, since some hosts lose what is raised in their own thread."""
        try:
            with memory_errors():
                self._edit(job)
        except DragTextError as error:
            return error
        except Exception as error:
            log.exception("The edit %s failed", job.id)
            return explained(error)
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
        key = cache.make_key(model.fingerprint, job.picture.fingerprint, job.request.prompt)
        with self._lock:
            editor = self._editors.pop(key, None) or Editor(model, job.picture, job.request.prompt)
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

    def render(self, job: Job, result: EditResult, v: float, text: float | None) -> Image.Image:
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
            raise drawn if isinstance(drawn, DragTextError) else explained(drawn)
        return drawn


def small(picture: Image.Image, side: int) -> Image.Image:
    """At most `side` pixels on the longer side."""
    picture = picture.copy()
    picture.thumbnail((side, side))
    return picture


def explained(error: BaseException) -> DragTextError:
    """An unexpected error as one sentence."""
    reason = " ".join(str(error).split())[:300]
    return DragTextError(
        f"{type(error).__name__}: {reason}; please report it with the WebUI's log, where the details are."
    )
