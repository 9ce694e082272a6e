"""Create, look at, stop, fetch, render and forget edits."""

from __future__ import annotations

import re

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.errors import InputError
from ...sdk.render.rendering import check_point
from ...sdk.request import Request as EditRequest
from .. import schema
from ..answers import describe, in_base64, outcome, picture_file
from ..bodies import edit_fields, flag, in_thread, json_body
from ..job import QUICK, EditJob
from ..pictures import jpeg_of
from ..queue import NotFinishedError, finished_edit
from ..words import standing
from .base import Routes, file


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
        image, fields = await edit_fields(request)
        wait, save = flag(fields, "wait", False), flag(fields, "save", True)
        quick = routes.for_page and flag(fields, "quick", False)
        identifier, known = fields.pop("id", None), fields.pop("picture", None)
        if identifier is not None and not (isinstance(identifier, str) and re.fullmatch(schema.IDENTIFIER, identifier)):
            raise InputError("An id has 1 to 64 letters, digits, - and _.")
        if image is None and not isinstance(known, str):
            raise InputError("picture is the id of an uploaded picture.")
        owner = routes.owner(request)

        def submit() -> EditJob:
            asked = EditRequest.from_data(fields)
            source = image if image is not None else jobs.pictures.get(str(known))
            return jobs.submit(source, asked, save=save, quick=quick, identifier=identifier, owner=owner)

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
        return JSONResponse([describe(jobs, job) for job in jobs.all(routes.asker(request)) if job.rank != QUICK])

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
        {200: schema.file("The picture.", "image/jpeg"), **schema.responses(404, 409)},
    )
    async def edit_preview(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        preview = job.preview if isinstance(job, EditJob) else None
        if preview is None:
            raise NotFinishedError("There is no preview yet; ask again later.")
        return file(await in_thread(jpeg_of, preview), "image/jpeg")

    @routes.add(
        "GET",
        "/edits/{job_id}/standing",
        "The picture so far with the drags drawn on it, as a JPEG file",
        {200: schema.file("The picture.", "image/jpeg"), **schema.responses(404, 409)},
    )
    async def edit_standing(request: Request, job_id: str) -> Response:
        return file(await in_thread(standing, routes.job(request, job_id)), "image/jpeg")

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
        {200: schema.file("The picture.", "image/png"), **schema.responses(404, 409, 422)},
    )
    async def edit_image(request: Request, job_id: str) -> Response:
        return file(await in_thread(picture_file, routes.job(request, job_id)), "image/png")

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
