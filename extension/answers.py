"""What the routes answer: a job's state and result in JSON types, pictures in base64, refusals of one sentence."""

from __future__ import annotations

import base64
from typing import Any

from fastapi.responses import JSONResponse

from ..sdk.errors import DragTextError, InputError, InterruptedEditError, ModelError, NotEnoughMemoryError
from .editing import records_of
from .job import QUICK, EditJob, Job
from .limits import sentence
from .pictures import UnknownPictureError, png_file
from .presets import UnknownPresetError
from .queue import (
    ClosedError,
    DuplicateJobError,
    Jobs,
    NotFinishedError,
    QueueFullError,
    UnknownJobError,
    finished_edit,
    finished_picture,
)
from .strips import StripJob
from .words import outcome_of, words

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownJobError, 404),
    (UnknownPictureError, 404),
    (UnknownPresetError, 404),
    (DuplicateJobError, 409),
    (NotFinishedError, 409),
    (QueueFullError, 429),
    (ClosedError, 503),
    (InterruptedEditError, 409),
    (NotEnoughMemoryError, 507),
    (ModelError, 503),
    (InputError, 422),
)


def describe(jobs: Jobs, job: Job) -> dict[str, Any]:
    """A job's state."""
    error = None if job.error is None else {"kind": type(job.error).__name__, "message": sentence(job.error)}
    edit = job if isinstance(job, EditJob) else None
    picture = job.origin.picture
    return {
        "id": job.id,
        "kind": job.kind,
        "edit": job.origin.id,
        "quick": job.rank == QUICK,
        "picture": picture and picture.id,
        "created": job.created,
        "state": job.state,
        "text": words(jobs, job),
        "outcome": outcome_of(job),
        "v": list(job.v),
        "position": jobs.position(job),
        "phase": job.phase,
        "step": job.step,
        "total": job.total,
        "distance": edit and edit.distance,
        "eta": edit and edit.eta,
        "points": [list(point) for point in edit.points] if edit else [],
        "preview_version": edit.version if edit else 0,
        "preview": None,
        "frames": len(job.frames) if isinstance(job, StripJob) else 0,
        "values": [list(point) for point in job.points] if isinstance(job, StripJob) else [],
        "error": error,
        "saved": None if job.saved is None else job.saved.name,
        "note": job.note,
    }


def outcome(job: Job) -> dict[str, Any]:
    """The finished edit, or a finished rendering of it."""
    result = finished_edit(job).result
    assert result is not None  # finished_edit has seen to it
    return {
        "image": in_base64(picture_file(job)),
        "infotext": job.infotext,
        "request": result.request.to_data(),
        "v": list(job.v),
        "report": result.report(),
        "trajectory": result.trajectory.tolist(),
    }


def picture_file(job: Job) -> bytes:
    """What a job has made as a PNG that carries how."""
    return png_file(finished_picture(job), job.infotext, records_of(job))


def in_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def refusal(error: DragTextError) -> JSONResponse:
    """An error of ours as an answer."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    return refused(status, type(error).__name__, str(error))


def refused(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": kind, "detail": sentence(message)}, status, headers)
