"""What an edit can be asked for afterwards: how it came about, more of its pictures, and itself as a program."""

from __future__ import annotations

import re
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.errors import InputError
from .. import schema, shapes
from ..animation import FORMATS, animation
from ..answers import describe
from ..bodies import in_thread, json_body
from ..queue import NotFinishedError, finished_edit
from ..snippet import snippet
from ..strips import StripJob, read_points
from .base import Routes, file


def add_afterwards(routes: Routes) -> None:
    """Document, strip and its frames, curve, animation, program."""
    jobs = routes.jobs

    @routes.add(
        "GET",
        "/edits/{job_id}/document",
        "What an edit was made from",
        {200: schema.answer(shapes.document_schema(), "Picture and request."), **schema.responses(404, 409)},
    )
    async def edit_document(request: Request, job_id: str) -> Response:
        """The picture is kept again, so that its id can be used."""
        job = routes.job(request, job_id)
        picture, asked = job.origin.picture, job.origin.request
        if picture is None:
            raise NotFinishedError("The picture of this edit is gone, since there is no result; open it again.")
        jobs.pictures.keep(picture)
        about: dict[str, Any] = {"id": picture.id, "width": picture.size[1], "height": picture.size[0]}
        return JSONResponse({"region": None, **asked.to_data(chosen=True), "picture": about, "v": list(job.v)})

    @routes.add(
        "POST",
        "/edits/{job_id}/strip",
        "Many points of the way between original and edit, in advance",
        {
            202: schema.answer(schema.job_schema(), "The strip: a job that lets every other one go first."),
            **schema.responses(400, 404, 409, 411, 413, 415, 422, 429, 503),
        },
        openapi_extra=schema.body(shapes.strip_schema(), {"v": [0, 0.5, 1, 1.5, 2]}),
        status_code=202,
    )
    async def render_strip(request: Request, job_id: str) -> Response:
        fields = await json_body(request)
        if set(fields) != {"v"}:
            raise InputError("Give v, a list of numbers, and nothing else.")
        edit = finished_edit(routes.job(request, job_id))
        strip = jobs.submit_strip(edit, read_points(fields["v"]), owner=routes.owner(request))
        return JSONResponse(describe(jobs, strip), 202)

    @routes.add(
        "GET",
        "/edits/{job_id}/frames/{number}",
        "A point of a strip as a JPEG file",
        {200: schema.file("The picture.", "image/jpeg"), **schema.responses(404, 409, 422)},
    )
    async def strip_frame(request: Request, job_id: str, number: str) -> Response:
        strip = routes.job(request, job_id)
        if not isinstance(strip, StripJob) or not re.fullmatch("[0-9]{1,4}", number):
            raise InputError("Frames belong to a strip and have a whole number from 0 on.")
        if int(number) >= len(strip.points):
            raise InputError(f"This strip has {len(strip.points)} frames, from 0 on.")
        if int(number) >= len(strip.frames):
            raise NotFinishedError("This frame is not rendered yet; ask again later.")
        return file(strip.frames[int(number)], "image/jpeg")

    @routes.add(
        "GET",
        "/edits/{job_id}/curve",
        "Distance left and loss, step by step",
        {200: schema.answer(shapes.curve_schema(), "One number per step so far."), **schema.responses(404)},
    )
    async def edit_curve(request: Request, job_id: str) -> Response:
        steps = list(routes.job(request, job_id).origin.curve)
        return JSONResponse({"distance": [left for left, _ in steps], "loss": [loss for _, loss in steps]})

    @routes.add(
        "GET",
        "/edits/{job_id}/animation",
        "The way from original to edit as a GIF or MP4 file",
        {
            200: schema.file("The file.", *(media for _, media in FORMATS.values())),
            **schema.responses(404, 409, 422),
        },
    )
    async def edit_animation(request: Request, job_id: str, format: str = "gif") -> Response:
        """`format`: gif or mp4."""
        edit = finished_edit(routes.job(request, job_id))
        data, media = await in_thread(animation, edit, format)
        return file(data, media, f"drag-{edit.id[:8]}.{format}")

    @routes.add(
        "GET",
        "/edits/{job_id}/snippet",
        "A Python program that gives the same picture",
        {200: schema.file("The program.", "text/plain"), **schema.responses(404, 409)},
    )
    async def edit_snippet(request: Request, job_id: str) -> Response:
        job = routes.job(request, job_id)
        edit = finished_edit(job)
        assert edit.result is not None  # finished_edit has seen to it
        if edit.picture is None:
            raise NotFinishedError("The picture of this edit is gone; drag again.")
        return file(await in_thread(snippet, edit.result, edit.picture, job.v), "text/plain")
