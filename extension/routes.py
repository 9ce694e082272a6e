"""The HTTP API, `/dragtext/v1`: edits as jobs, on the host's own FastAPI application.

Bodies are read by `bodies.py`. Nothing that comes in is ever taken as a path.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.concurrency import run_in_threadpool

from ..sdk.drag import METHODS, defaults_of
from ..sdk.errors import DragTextError, InputError, InterruptedEditError, ModelError, NotEnoughMemoryError
from ..sdk.picture.files import METADATA_KEY
from ..sdk.render.rendering import check_point
from ..sdk.request import Request as EditRequest
from ..sdk.settings import catalogue
from . import schema
from .access import RefusedError, check_access
from .bodies import BodyError, edit_fields, flag, json_body
from .job import Job
from .queue import (
    ClosedError,
    DuplicateJobError,
    Jobs,
    NotFinishedError,
    QueueFullError,
    UnknownJobError,
    finished_result,
)

log = logging.getLogger("dragtext")

ROOT = "/dragtext/v1"
POLL = 0.1
LONGEST_WAIT = 600.0  # seconds; an open request holds up a reload of the host's page
STATUS: tuple[tuple[type[Exception], int], ...] = (
    (UnknownJobError, 404),
    (DuplicateJobError, 409),
    (NotFinishedError, 409),
    (QueueFullError, 429),
    (ClosedError, 503),
    (InterruptedEditError, 409),
    (NotEnoughMemoryError, 507),
    (ModelError, 503),
    (InputError, 422),
)


def add_routes(app: Any, jobs: Jobs) -> None:
    """Put the API on a FastAPI application, once; a reloaded page brings a new application."""
    if getattr(app.state, "dragtext", None) is not None:
        return
    app.state.dragtext = jobs
    app.include_router(_router(app, jobs))
    app.openapi_schema = None  # it may have been asked for already


def _router(app: Any, jobs: Jobs) -> APIRouter:
    router = APIRouter(prefix=ROOT, tags=["DragText"])
    dialect = str(getattr(app, "openapi_version", "3.1.0"))

    def guarded(endpoint: Callable[..., Awaitable[Response]]) -> Callable[..., Awaitable[Response]]:
        @wraps(endpoint)
        async def answer(request: Request, **parameters: Any) -> Response:
            try:
                check_access(request.headers, request.cookies, jobs.host.accounts(), app)
                return await endpoint(request, **parameters)
            except RefusedError as error:
                headers = {"WWW-Authenticate": "Basic"} if error.status == 401 else None
                return _refusal(error.status, "Refused", error.message, headers)
            except BodyError as error:
                return _refusal(error.status, "BodyError", error.message)
            except DragTextError as error:
                return _refusal(status_of(error), kind_of(error), str(error))
            except Exception as error:
                log.exception("%s %s failed", request.method, request.url.path)
                return _refusal(500, type(error).__name__, "Something broke; the WebUI's log says what.")

        return answer

    def route(method: str, path: str, summary: str, responses: dict[int | str, Any], **more: Any) -> Callable:
        def add(endpoint: Callable[..., Awaitable[Response]]) -> None:
            router.add_api_route(
                path,
                guarded(endpoint),
                methods=[method],
                summary=summary,
                responses={status: schema.in_dialect(answer, dialect) for status, answer in responses.items()},
                response_class=Response,
                response_model=None,
                openapi_extra=schema.in_dialect(more.get("openapi_extra"), dialect),
                status_code=more.get("status_code"),
                name=endpoint.__name__,
            )

        return add

    one_job = schema.job_schema()

    @route(
        "POST",
        "/edits",
        "Create an edit",
        {
            202: schema.answer(one_job, "The edit waits or runs."),
            200: schema.answer(one_job, "The edit is finished (`wait`)."),
            **schema.responses(400, 409, 411, 413, 415, 422, 429, 503),
        },
        openapi_extra=schema.edit_body(),
        status_code=202,
    )
    async def create_edit(request: Request) -> Response:
        image, mask, fields = await edit_fields(request)
        wait, save = flag(fields, "wait", False), flag(fields, "save", True)
        identifier = fields.pop("id", None)
        if identifier is not None and not (isinstance(identifier, str) and re.fullmatch(schema.IDENTIFIER, identifier)):
            raise InputError("An id has 1 to 64 letters, digits, - and _.")
        asked = EditRequest.from_json(json.dumps(fields))
        job = await run_in_threadpool(jobs.submit, image, asked, mask, save=save, identifier=identifier)
        if not wait:
            return JSONResponse(describe(jobs, job), 202)
        deadline = time.monotonic() + LONGEST_WAIT
        while not job.ended.is_set() and not jobs.closed and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        return JSONResponse(describe(jobs, job), 200 if job.ended.is_set() else 202)

    @route(
        "GET",
        "/edits",
        "All edits that are known",
        {200: schema.answer({"type": "array", "items": one_job}, "Oldest first."), **schema.responses()},
    )
    async def list_edits(request: Request) -> Response:
        return JSONResponse([describe(jobs, job) for job in jobs.all()])

    @route(
        "GET",
        "/edits/{job_id}",
        "State of an edit",
        {200: schema.answer(one_job, "Its state."), **schema.responses(404, 422)},
    )
    async def edit_state(request: Request, job_id: str, seen: str = "") -> Response:
        """`seen`: the version of the preview that you have; a newer one comes with the answer. Left out: none does."""
        job = jobs.get(job_id)
        answer = describe(jobs, job)
        if seen and not re.fullmatch("[0-9]{1,9}", seen):
            raise InputError("seen is the version of a preview, a whole number.")
        if seen and job.preview is not None and job.version > int(seen):
            answer["preview"] = await run_in_threadpool(png_base64, job.preview)
        return JSONResponse(answer)

    @route(
        "POST",
        "/edits/{job_id}/interrupt",
        "Stop an edit and keep the best so far",
        {200: schema.answer(one_job, "Its state; it ends at the next step."), **schema.responses(404, 422)},
    )
    async def interrupt_edit(request: Request, job_id: str) -> Response:
        job = jobs.get(job_id)
        jobs.interrupt(job)
        return JSONResponse(describe(jobs, job))

    @route(
        "GET",
        "/edits/{job_id}/result",
        "The finished edit",
        {200: schema.answer(schema.result_schema(), "The result."), **schema.responses(404, 409, 422)},
    )
    async def edit_result(request: Request, job_id: str) -> Response:
        job = jobs.get(job_id)
        result = finished_result(job)
        return JSONResponse(
            {
                "image": await run_in_threadpool(png_base64, result.image, job),
                "infotext": job.infotext,
                "request": json.loads(result.request.to_json()),
                "report": result.report(),
                "trajectory": result.trajectory.tolist(),
            }
        )

    @route(
        "GET",
        "/edits/{job_id}/image",
        "The finished edit as a PNG file",
        {
            200: {"description": "The picture.", "content": {"image/png": {}}},
            **schema.responses(404, 409, 422),
        },
    )
    async def edit_image(request: Request, job_id: str) -> Response:
        job = jobs.get(job_id)
        result = finished_result(job)
        return Response(await run_in_threadpool(png_bytes, result.image, job), media_type="image/png")

    @route(
        "POST",
        "/edits/{job_id}/render",
        "Another point of the way between original and edit",
        {
            200: schema.answer({"type": "object", "properties": {"image": schema.IMAGE}}, "The picture."),
            **schema.responses(400, 404, 409, 411, 413, 415, 422, 429, 503, 507),
        },
        openapi_extra=schema.body(schema.render_schema(), {"v": 1.5}),
    )
    async def render_edit(request: Request, job_id: str) -> Response:
        fields = await json_body(request)
        unknown = sorted(set(fields) - {"v", "text"})
        if unknown or "v" not in fields:
            raise InputError("Give v, a number, and text if the embedding shall go another way; nothing else.")
        text = fields.get("text")
        if any(isinstance(value, (bool, str)) for value in (fields["v"], text)):
            raise InputError("v and text are numbers.")
        v, words = check_point((fields["v"], fields["v"] if text is None else text))
        job = jobs.get(job_id)
        picture = await run_in_threadpool(jobs.render, job, v, words)
        return JSONResponse({"image": await run_in_threadpool(png_base64, picture)})

    @route(
        "GET",
        "/methods",
        "The base methods and their published settings",
        {200: schema.answer({"type": "object"}, "Method to settings."), **schema.responses()},
    )
    async def methods(request: Request) -> Response:
        return JSONResponse({name: defaults_of(name) for name in METHODS})

    @route(
        "GET",
        "/settings",
        "JSON Schema of the settings",
        {200: schema.answer({"type": "object"}, "A JSON Schema."), **schema.responses()},
    )
    async def settings(request: Request) -> Response:
        return JSONResponse(schema.settings_schema())

    @route(
        "GET",
        "/health",
        "Whether edits can be made",
        {200: schema.answer({"type": "object"}, "Host, edits that wait or run."), **schema.responses()},
    )
    async def health(request: Request) -> Response:
        waiting = sum(not job.ended.is_set() for job in jobs.all())
        return JSONResponse({"status": "ok", "host": jobs.host.name, "waiting": waiting, "settings": len(catalogue())})

    return router


def describe(jobs: Jobs, job: Job) -> dict[str, Any]:
    """A job's state in JSON types."""
    error = None if job.error is None else {"kind": kind_of(job.error), "message": str(job.error)}
    return {
        "id": job.id,
        "state": job.state,
        "position": jobs.position(job),
        "phase": job.phase,
        "step": job.step,
        "total": job.total,
        "distance": job.distance,
        "eta": job.eta,
        "points": [list(point) for point in job.points],
        "preview_version": job.version,
        "preview": None,
        "error": error,
        "saved": None if job.saved is None else job.saved.name,
        "note": job.note,
    }


def status_of(error: DragTextError) -> int:
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def kind_of(error: DragTextError) -> str:
    return type(error).__name__


def png_bytes(picture: Image.Image, job: Job | None = None) -> bytes:
    """A PNG file, with the infotext and the request of its job."""
    from PIL.PngImagePlugin import PngInfo

    information = PngInfo()
    if job is not None and job.result is not None:
        information.add_itxt("parameters", job.infotext)
        information.add_itxt(METADATA_KEY, job.result.request.to_json())
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=information)
    return buffer.getvalue()


def png_base64(picture: Image.Image, job: Job | None = None) -> str:
    return base64.b64encode(png_bytes(picture, job)).decode()


def _refusal(status: int, kind: str, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": kind, "detail": message}, status, headers)
