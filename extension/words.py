"""A job in words, and as a picture of where it stands: what the page shows, whichever way it asks."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from ..sdk.picture.drawing import draw_instruction
from ..sdk.picture.masks import load_mask
from ..sdk.request import Drag
from .job import EditJob, Job
from .limits import sentence
from .pictures import DECODING, jpeg_of
from .queue import Jobs, NotFinishedError
from .strips import StripJob

ENDINGS = {
    "reached": "All points arrived",
    "steps": "All steps were used",
    "stuck": "The points do not move any more",
    "interrupted": "Stopped; this is the best so far",
    "diverged": "The loss became NaN; this is the last good state",
}


def words(jobs: Jobs, job: Job) -> str:
    """One line about a job."""
    if job.state == "queued":
        before = jobs.position(job)
        return f"Waiting; {before} before this one." if before else "Waiting for the model."
    if job.state == "running":
        return _running(job)
    if job.error is not None:
        return sentence(job.error)
    parts = [_outcome(job)]
    if job.saved is not None:
        parts.append(f"Saved as {job.saved.name}.")
    if job.note:
        parts.append(job.note)
    return sentence(" ".join(parts))


def _running(job: Job) -> str:
    line = f"{job.phase.capitalize()} {job.step}/{job.total}" if job.total else job.phase.capitalize()
    if isinstance(job, EditJob):
        if job.distance is not None and job.phase == "dragging":
            line += f", {job.distance:.0f} px left"
        if job.eta is not None:
            line += f", about {job.eta:.0f} s"
    return line


def _outcome(job: Job) -> str:
    if isinstance(job, StripJob):
        return f"{len(job.frames)} pictures between the original and the edit, and beyond."
    told = outcome_of(job)
    if told is None:
        return f"Rendered at {job.v[0]:g}."
    if told["ended"] == "moved":
        return f"Moved to where the handles should be, {told['seconds']:.0f} s."
    after = f"{told['left']:.0f} px left after {told['steps']} steps, {told['seconds']:.0f} s."
    return f"{ENDINGS[told['ended']]}: {after}"


def outcome_of(job: Job) -> dict[str, Any] | None:
    """How an edit ended, for a page that has words of its own: one of ENDINGS, or "moved" by a start without a loop;
    left: mean distance in pixels; steps; seconds. None where there is no result."""
    if not isinstance(job, EditJob) or job.result is None or job.error is not None:
        return None
    result = job.result
    return {
        "ended": "moved" if result.start is not None and not result.steps else result.stopped,
        "left": float(np.mean([drag.distance_after for drag in result.drags])),
        "steps": result.steps,
        "seconds": sum(result.timings.values()),
    }


def standing(job: Job) -> bytes:
    """A JPEG of the preview, or of the picture, with the drags from where the handles are now. Raises NotFinishedError
    where the picture is not kept any more."""
    edit = job.origin
    picture = edit.picture
    if picture is None:
        raise NotFinishedError("There is nothing to show of this edit any more.")
    base = Image.open(io.BytesIO(picture.thumbnail))
    scale = base.width / picture.size[1]
    if edit.preview is not None and not edit.ended.is_set():
        base = edit.preview.convert("RGB").resize(base.size)
    now = edit.points or tuple(drag.source for drag in edit.request.drags)
    drags = [
        Drag((x * scale, y * scale), (drag.target[0] * scale, drag.target[1] * scale))
        for (x, y), drag in zip(now, edit.request.drags)
    ]
    mask = None
    if edit.request.mask is not None:
        with DECODING:
            mask = np.array(Image.fromarray(load_mask(edit.request.mask, picture.size)).resize(base.size))
    return jpeg_of(Image.fromarray(draw_instruction(np.array(base.convert("RGB")), drags, mask)))
