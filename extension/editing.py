"""What a job does on a host: lend the model, drag or render, report, save."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from PIL import Image

from ..sdk.editor import Editor
from ..sdk.errors import DragTextError, InputError, InterruptedEditError
from ..sdk.model import cache
from ..sdk.model.memory import memory_errors
from ..sdk.picture.files import METADATA_KEY
from ..sdk.result import PHASES, EditResult, Progress
from .estimate import Estimate, History
from .expectation import Experience
from .hosts.base import Host, Notice
from .infotext import write_infotext
from .job import EditJob, Job, RenderJob
from .limits import sentence
from .options import number
from .originals import ORIGINAL_KEY, keep_original
from .pictures import DECODING, jpeg_of, small
from .room import Room
from .strips import StripJob

log = logging.getLogger("dragtext")

KEPT_EDITORS = 2  # pictures whose inversion and LoRA stay in memory
PREVIEW_SIDE = 512
V_KEY = "dragtext_v"  # in a PNG beside the request: the point of the way that it shows, as image/text
LONGEST_OUTSIDE_PNG = 10_000  # characters of infotext; JPEG and WebP hold 64 kB of two bytes each


class Editing:
    """The work of one host; called by the queue's worker, one job at a time."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._editors: OrderedDict[str, Editor] = OrderedDict()
        self._lock = threading.Lock()
        self._history = History()
        self.experience = Experience()
        self.room = Room()

    def estimate(self) -> Estimate:
        """For a new edit; it knows what earlier ones took."""
        return Estimate(self._history)

    def configure_cache(self) -> None:
        """Tell the SDK where the host wants its cache, and how large."""
        cache.configure(self.host.cache_folder, number(self.host, "cache_limit_mb"))

    def forget(self) -> None:
        """Drop what is kept in memory for the next drag on the same picture."""
        with self._lock:
            self._editors.clear()

    def attempt(self, job: Job) -> DragTextError | None:
        """Do the job; never raises, since some hosts lose what is raised in their own thread."""
        try:
            with memory_errors():
                if isinstance(job, RenderJob):
                    self._render(job)
                elif isinstance(job, StripJob):
                    job.render(self.point)
                elif isinstance(job, EditJob):
                    self._edit(job)
            if job.image is not None:
                self._save(job, job.image)
        except DragTextError as error:
            return error
        except BaseException as error:
            log.exception("The job %s failed", job.id)
            return explained(error)
        return None

    def _edit(self, job: EditJob) -> None:
        self.configure_cache()
        strength = job.request.settings.resolve().strength
        with self.host.lend(job.request.prompt, strength) as model:
            self.room.learn(model)
            key, editor = self._editor(job, model)
            try:
                with editor.attached(model):
                    result = self._drag(job, editor)
            except BaseException:
                # What ends without a result leaves nothing in memory; what the disk holds is found again. But a quick
                # edit is mostly followed by one on the same picture.
                if not job.quick:
                    with self._lock:
                        self._editors.pop(key, None)
                raise
            job.fingerprint = model.fingerprint
            if not job.quick and job.picture is not None:
                self.experience.learn(job.picture, result, model.native_resolution, job.estimate.worked)
        if not job.quick and job.picture is not None:
            keep_original(job.picture)  # the model has been given back: large files take a moment
        job.infotext = write_infotext(result, job.id)
        job.result = replace(result, rendering=result.rendering.with_model(None))
        # Once in memory; the settings as they were asked for, without those of the model.
        job.request = replace(result.request, settings=job.request.settings)
        job.image = result.image
        job.note = sentence(" ".join(result.notes))

    def _drag(self, job: EditJob, editor: Editor) -> EditResult:
        try:
            return editor.drag(
                job.request.drags,
                mask=job.request.mask,
                region=job.request.region,
                settings=job.request.settings,
                on_progress=lambda event: self._report(job, event),
                should_stop=lambda: self._should_stop(job),
            )
        except RuntimeError:
            self.host.check()  # a model that went away breaks with torch's words; say what happened
            raise
        finally:
            job.estimate.finish()

    def _editor(self, job: EditJob, model: Any) -> tuple[str, Editor]:
        if job.picture is None:
            raise InputError("The picture of this edit is gone; start the edit again.")
        key = cache.make_key(model.fingerprint, job.picture.id, job.request.prompt)
        with self._lock:
            editor = self._editors.pop(key, None)
        if editor is None:
            with DECODING:
                editor = Editor(model, job.picture.data, job.request.prompt)
        with self._lock:
            self._editors[key] = editor
            while len(self._editors) > KEPT_EDITORS:
                self._editors.popitem(last=False)
        return key, editor

    def _render(self, job: RenderJob) -> None:
        job.image = self.point(job, job.at)
        job.infotext = write_infotext(_result_of(job), job.edit.id, job.at)

    def point(self, job: Job, at: tuple[float, float]) -> Image.Image:
        """A finished edit at another point of its way. Raises InterruptedEditError where the job is to stop."""
        result = _result_of(job)
        with self.host.lend(result.request.prompt, result.settings.strength) as model:
            if model.fingerprint != job.origin.fingerprint:
                raise InputError(f"This edit was made with {result.model}; select that checkpoint again.")

            def step(done: int, total: int) -> None:
                job.phase, job.step, job.total = PHASES["denoise"], done, total
                self._show(f"DragText: {job.phase} {done}/{total}", done, total)
                if self._should_stop(job):
                    raise InterruptedEditError("Stopped before the picture was finished.")

            (image,) = result.rendering.with_model(model).sweep([at], step)
        return image

    def _save(self, job: Job, image: Image.Image) -> None:
        """Give the picture what it was made from, for whoever stores it, and let the host save it."""
        records = records_of(job)
        image.info.update({"parameters": job.infotext, **records})
        if not job.save:
            return
        request = _result_of(job).request
        png = request.mask is not None or len(job.infotext) > LONGEST_OUTSIDE_PNG
        try:
            job.saved = self.host.save(image, job.infotext, records, request.prompt, request.settings.seed, png=png)
        except Exception as error:  # a full disk, or another extension's callback, must not cost the result
            reason = sentence(f"The result could not be saved ({getattr(error, 'strerror', None) or error}).")
            log.warning(reason)
            job.note = sentence(f"{job.note} {reason}")

    def _should_stop(self, job: Job) -> bool:
        self.host.check()
        return job.stop or job.gives_way or self.host.interrupted()

    def _report(self, job: EditJob, event: Progress) -> None:
        if self.host.ending:
            # Nobody could fetch the picture after a reload, and drawing it would hold the reload up.
            raise InterruptedEditError("The WebUI was reloaded.")
        if job.quick and self._should_stop(job):
            raise InterruptedEditError("Another drag goes first.")  # drawing what there is so far would hold it up
        job.phase, job.step, job.total = PHASES[event.phase], event.done, event.total
        if event.step is None:
            job.estimate.advance(event.phase, event.done, event.total)
        else:
            job.distance, job.points = event.distance, event.points
            if event.distance is not None:
                job.curve.append((event.distance, event.step.loss))
            reach = job.request.settings.reach_distance
            left = max(0.0, max(event.step.distances, default=0.0) - reach)  # the drag ends with the last to arrive
            job.estimate.advance(event.phase, event.done, event.total, left)
            every = int(number(self.host, "preview_every"))
            if event.preview is not None and every and event.step.iteration % every == 0:
                preview = small(event.preview(), PREVIEW_SIDE)
                job.keep_preview(preview, jpeg_of(preview))
        text = f"DragText: {job.phase} {event.done}/{event.total}"
        if event.distance is not None:
            text += f", {event.distance:.0f} px left"
        self._show(text, event.done, event.total, job.preview)

    def _show(self, text: str, done: int, total: int, preview: Image.Image | None = None) -> None:
        self.host.show(Notice(text, done, total, preview))


def records_of(job: Job) -> dict[str, str]:
    """What a PNG of a finished job carries besides the infotext: the request, its picture's id, the point it shows."""
    records = {METADATA_KEY: _result_of(job).request.to_json()}
    if job.origin.picture is not None:
        records[ORIGINAL_KEY] = job.origin.picture.id
    if isinstance(job, RenderJob):
        records[V_KEY] = f"{job.at[0]:.6g}/{job.at[1]:.6g}"
    return records


def _result_of(job: Job) -> EditResult:
    if job.origin.result is None:
        raise InputError("The edit that this would be a point of is gone; drag again.")
    return job.origin.result


def explained(error: BaseException) -> DragTextError:
    """An unexpected error as one sentence."""
    reason = sentence(error)[:300]
    return DragTextError(
        f"{type(error).__name__}: {reason}; please report it with the WebUI's log, where the details are."
    )
