"""What a finished edit can be asked for."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .. import schema
from ..queue import NotFinishedError
from .base import Routes


def add_afterwards(routes: Routes) -> None:
    """The document that an edit was made from."""
    jobs = routes.jobs

    @routes.add(
        "GET",
        "/edits/{job_id}/document",
        "What an edit was made from",
        {200: schema.answer(schema.document_schema(), "Picture and request."), **schema.responses(404, 409)},
    )
    async def edit_document(request: Request, job_id: str) -> Response:
        """The picture is kept again, so that its id can be used."""
        job = routes.job(request, job_id)
        picture, asked = job.origin.picture, job.origin.request
        if picture is None:
            raise NotFinishedError("The picture of this edit is gone, since there is no result; open it again.")
        jobs.pictures.keep(picture)
        about: dict[str, Any] = {"id": picture.id, "width": picture.size[1], "height": picture.size[0]}
        return JSONResponse({"region": None, **asked.to_data(), "picture": about, "v": list(job.v)})
