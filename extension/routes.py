"""The HTTP routes, on the host's own FastAPI application: edits as jobs.

One router, mounted twice: always for the page (`/dragtext/internal`, with a header that only our page sends, and only
that page's own jobs), and for scripts where the host has its API on (`/dragtext/v1`). Nothing that comes in is ever
taken as a path, nothing is parsed or decoded on the event loop, and no thread waits for a job.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from ..sdk.drag import METHODS, defaults_of
from ..sdk.errors import DragTextError, InputError
from ..sdk.render.rendering import check_point
from ..sdk.request import Request as EditRequest
from ..sdk.settings import catalogue
from . import schema
from .access import RefusedError, check_access, page_of
from .answers import describe, in_base64, outcome, picture_file, refusal, refused
from .bodies import BodyError, edit_fields, file_body, flag, in_thread, json_body
from .job import EditJob, Job
from .pictures import jpeg_of
from .queue import Jobs, NotFinishedError, UnknownJobError, finished_edit
from .report import bug_report, version
from .words import standing

log = logging.getLogger("dragtext")

API = "/dragtext/v1"
PAGE = "/dragtext/internal"
SCRIPTS = Path(__file__).resolve().parent.parent / "javascript"
POLL = 0.1
LONGEST_WAIT = 600.0  # seconds; an open request holds up a reload of the host's page
NEVER_STORED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Endpoint = Callable[..., Awaitable[Response]]


def add_routes(app: Any, jobs: Jobs) -> None:
    """Put the routes on a FastAPI application, once; a reloaded page brings a new application."""
    if getattr(app.state, "dragtext", None) is not None:
        return
    app.state.dragtext = jobs
    app.include_router(Routes(app, jobs, for_page=True).router)
    if jobs.host.has_public_api:
        app.include_router(Routes(app, jobs, for_page=False).router)
    app.openapi_schema = None  # it may have been asked for already


class Routes:
    """The router and what its endpoints share."""

    def __init__(self, app: Any, jobs: Jobs, *, for_page: bool) -> None:
        self.app, self.jobs, self.for_page = app, jobs, for_page
        self.dialect = str(getattr(app, "openapi_version", "3.1.0"))
        self.router = APIRouter(prefix=PAGE if for_page else API, tags=["DragText"], include_in_schema=not for_page)
        add_edits(self)
        add_pictures(self)
        add_facts(self)
        if for_page:
            add_scripts(self)

    def owner(self, request: Request) -> str:
        """The page that asks; scripts own nothing and see everything."""
        return page_of(request.headers) if self.for_page else ""

    def job(self, request: Request, identifier: str) -> Job:
        """Raises UnknownJobError, also for another page's job."""
        job = self.jobs.get(identifier)
        if self.for_page and job.owner != self.owner(request):
            raise UnknownJobError("There is no such edit of this page.")
        return job

    def known(self, request: Request) -> list[Job]:
        owner = self.owner(request)
        return [job for job in self.jobs.all() if not self.for_page or job.owner == owner]

    def add(self, method: str, path: str, summary: str, responses: dict[int | str, Any], **more: Any) -> Callable:
        """A decorator that makes an endpoint of a function."""

        def keep(endpoint: Endpoint) -> None:
            self.router.add_api_route(
                path,
                self._guarded(endpoint),
                methods=[method],
                summary=summary,
                responses={status: schema.in_dialect(found, self.dialect) for status, found in responses.items()},
                response_class=Response,
                response_model=None,
                openapi_extra=schema.in_dialect(more.get("openapi_extra"), self.dialect),
                status_code=more.get("status_code"),
                name=endpoint.__name__,
            )

        return keep

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        host = self.jobs.host

        @wraps(endpoint)
        async def answer(request: Request, **parameters: Any) -> Response:
            try:
                proxied = bool(host.option("behind_proxy"))
                check_access(request.headers, request.cookies, host.accounts(), self.app, proxied=proxied)
                if self.for_page:
                    page_of(request.headers)
                return await endpoint(request, **parameters)
            except RefusedError as error:
                headers = {"WWW-Authenticate": "Basic"} if error.status == 401 and not self.for_page else None
                return refused(error.status, "Refused", error.message, headers)
            except BodyError as error:
                return refused(error.status, "BodyError", error.message)
            except DragTextError as error:
                return refusal(error)
            except Exception as error:
                log.exception("%s %s failed", request.method, request.url.path)
                return refused(500, type(error).__name__, "Something broke; the WebUI's log says what.")

        return answer

    async def until_ended(self, job: Job) -> bool:
        """Wait without holding a thread; whether the job has ended."""
        deadline = time.monotonic() + LONGEST_WAIT
        while not job.ended.is_set() and not self.jobs.closed and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        return job.ended.is_set()


def add_edits(routes: Routes) -> None:
    """Create, look at, stop, fetch, render and forget edits."""
    jobs, one_job = routes.jobs, schema.job_schema()

    @routes.add(
        "POST",
        "/edits",
        "Create an edit",
        {
            202: schema.answer(one_job, "The edit waits or runs."),
            200: schema.answer(one_job, "The edit is finished (`wait`)."),
            **schema.responses(400, 404, 409, 411, 413, 415, 422, 429, 503),
        },
        openapi_extra=schema.edit_body(),
        status_code=202,
    )
    async def create_edit(request: Request) -> Response:
        image, mask, fields = await edit_fields(request)
        wait, save = flag(fields, "wait", False), flag(fields, "save", True)
        identifier, known = fields.pop("id", None), fields.pop("picture", None)
        if identifier is not None and not (isinstance(identifier, str) and re.fullmatch(schema.IDENTIFIER, identifier)):
            raise InputError("An id has 1 to 64 letters, digits, - and _.")
        if image is None and not isinstance(known, str):
            raise InputError("picture is the id of an uploaded picture.")
        owner = routes.owner(request)

        def submit() -> EditJob:
            asked = EditRequest.from_data(fields)
            source = image if image is not None else jobs.pictures.get(str(known))
            return jobs.submit(source, asked, mask, save=save, identifier=identifier, owner=owner)

        job = await in_thread(submit)
        ended = wait and await routes.until_ended(job)
        return JSONResponse(describe(jobs, job), 200 if ended else 202)

    @routes.add(
        "GET",
        "/edits",
        "All edits that are known",
        {200: schema.answer({"type": "array", "items": one_job}, "Oldest first."), **schema.responses()},
    )
    async def list_edits(request: Request) -> Response:
        return JSONResponse([describe(jobs, job) for job in routes.known(request)])

    @routes.add(
        "GET",
        "/edits/{job_id}",
        "State of an edit",
        {200: schema.answer(one_job, "Its state."), **schema.responses(404, 422)},
    )
    async def edit_state(request: Request, job_id: str, seen: str = "") -> Response:
        """`seen`: the version of the preview that you have; a newer one comes with the answer. Left out: none does."""
        job = routes.job(request, job_id)
        answer = describe(jobs, job)
        if seen and not re.fullmatch("[0-9]{1,9}", seen):
            raise InputError("seen is the version of a preview, a whole number.")
        preview = job.preview if isinstance(job, EditJob) else None
        if seen and preview is not None and answer["preview_version"] > int(seen):
            answer["preview"] = in_base64(await in_thread(jpeg_of, preview))
        return JSONResponse(answer)

    @routes.add(
        "GET",
        "/edits/{job_id}/preview",
        "The latest preview as a JPEG file",
        {200: {"description": "The picture.", "content": {"image/jpeg": {}}}, **schema.responses(404, 409)},
    )
    async def edit_preview(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        preview = job.preview if isinstance(job, EditJob) else None
        if preview is None:
            raise NotFinishedError("There is no preview yet; ask again later.")
        return Response(await in_thread(jpeg_of, preview), media_type="image/jpeg", headers=NEVER_STORED)

    @routes.add(
        "GET",
        "/edits/{job_id}/standing",
        "The picture so far with the drags drawn on it, as a JPEG file",
        {200: {"description": "The picture.", "content": {"image/jpeg": {}}}, **schema.responses(404, 409)},
    )
    async def edit_standing(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        return Response(await in_thread(standing, job), media_type="image/jpeg", headers=NEVER_STORED)

    @routes.add(
        "POST",
        "/edits/{job_id}/interrupt",
        "Stop an edit and keep the best so far",
        {200: schema.answer(one_job, "Its state; it ends at the next step."), **schema.responses(404, 422)},
    )
    async def interrupt_edit(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        jobs.interrupt(job)
        return JSONResponse(describe(jobs, job))

    @routes.add(
        "DELETE",
        "/edits/{job_id}",
        "Stop an edit and forget it",
        {200: schema.answer(one_job, "What it was; the id means nothing any more."), **schema.responses(404)},
    )
    async def delete_edit(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        jobs.forget(job)
        return JSONResponse(describe(jobs, job))

    @routes.add(
        "GET",
        "/edits/{job_id}/result",
        "The finished edit",
        {200: schema.answer(schema.result_schema(), "The result."), **schema.responses(404, 409, 422)},
    )
    async def edit_result(request: Request, job_id: str) -> Response:
        return JSONResponse(await in_thread(outcome, routes.job(request, job_id)))

    @routes.add(
        "GET",
        "/edits/{job_id}/image",
        "The finished edit as a PNG file",
        {200: {"description": "The picture.", "content": {"image/png": {}}}, **schema.responses(404, 409, 422)},
    )
    async def edit_image(request: Request, job_id: str) -> Response:
        data = await in_thread(picture_file, routes.job(request, job_id))
        return Response(data, media_type="image/png", headers=NEVER_STORED)

    @routes.add(
        "POST",
        "/edits/{job_id}/render",
        "Another point of the way between original and edit",
        {
            200: schema.answer({"type": "object", "properties": {"image": schema.IMAGE}}, "The picture."),
            202: schema.answer(one_job, "It waits or runs (`wait` false); its image is fetched as an edit's is."),
            **schema.responses(400, 404, 409, 411, 413, 415, 422, 429, 503, 507),
        },
        openapi_extra=schema.body(schema.render_schema(), {"v": 1.5}),
    )
    async def render_edit(request: Request, job_id: str) -> Response:
        fields = await json_body(request)
        wait, save = flag(fields, "wait", True), flag(fields, "save", False)
        if set(fields) - {"v", "text"} or "v" not in fields:
            raise InputError("Give v, a number, and text if the embedding shall go another way; nothing else.")
        text = fields.get("text")
        if any(isinstance(value, (bool, str)) for value in (fields["v"], text)):
            raise InputError("v and text are numbers.")
        v, word = check_point((fields["v"], fields["v"] if text is None else text))
        edit = finished_edit(routes.job(request, job_id))
        job = jobs.submit_render(edit, v, word, save=save, owner=routes.owner(request))
        if not wait or not await routes.until_ended(job):
            return JSONResponse(describe(jobs, job), 202)
        if job.error is not None:
            raise job.error
        return JSONResponse({"image": in_base64(await in_thread(picture_file, job))})


def add_pictures(routes: Routes) -> None:
    """Upload a picture once, edit it many times."""

    @routes.add(
        "POST",
        "/pictures",
        "Upload a picture file",
        {
            201: schema.answer(schema.picture_schema(), "Its id, for `picture` of an edit; unused ones are forgotten."),
            **schema.responses(400, 411, 413, 415, 422),
        },
        openapi_extra=schema.file_body(),
        status_code=201,
    )
    async def upload_picture(request: Request) -> Response:
        picture = await in_thread(routes.jobs.pictures.add, await file_body(request))
        height, width = picture.size
        return JSONResponse({"id": picture.id, "width": width, "height": height}, 201)


def add_facts(routes: Routes) -> None:
    """What can be asked for, and whether this works."""
    jobs = routes.jobs

    @routes.add(
        "GET",
        "/methods",
        "The base methods and their published settings",
        {200: schema.answer({"type": "object"}, "Method to settings."), **schema.responses()},
    )
    async def methods(request: Request) -> Response:
        return JSONResponse({name: defaults_of(name) for name in METHODS})

    @routes.add(
        "GET",
        "/settings",
        "JSON Schema of the settings",
        {200: schema.answer({"type": "object"}, "A JSON Schema."), **schema.responses()},
    )
    async def settings(request: Request) -> Response:
        return JSONResponse(schema.settings_schema())

    @routes.add(
        "GET",
        "/health",
        "Whether edits can be made",
        {200: schema.answer({"type": "object"}, "Host, edits that wait or run."), **schema.responses()},
    )
    async def health(request: Request) -> Response:
        facts = {"status": "ok", "host": jobs.host.name, "version": version(), "settings": len(catalogue())}
        return JSONResponse({**facts, "waiting": sum(not job.ended.is_set() for job in jobs.all())})

    @routes.add(
        "GET",
        "/report",
        "The facts that a bug report needs",
        {200: {"description": "Lines of text.", "content": {"text/plain": {}}}, **schema.responses()},
    )
    async def report(request: Request) -> Response:
        return Response(await in_thread(bug_report, jobs.host.name), media_type="text/plain")


def add_scripts(routes: Routes) -> None:
    """The page's own scripts, for where no host loads them; a browser asks for modules without our header."""

    async def script(request: Request, name: str) -> Response:
        path = SCRIPTS / name
        if not re.fullmatch(r"[a-z_]{1,40}\.mjs", name) or not path.is_file():
            return refused(404, "UnknownScript", "There is no such script.")
        data = await in_thread(path.read_bytes)
        return Response(data, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    routes.router.add_api_route("/javascript/{name}", script, methods=["GET"], response_class=Response)
