"""What a picture shows, asked of the host."""

from __future__ import annotations

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.errors import InputError
from .. import schema
from ..bodies import json_body
from ..describing import description
from ..queue import ClosedError
from .base import Routes


def add_describing(routes: Routes) -> None:
    """Let the host describe an uploaded picture."""

    @routes.add(
        "POST",
        "/pictures/{picture_id}/prompt",
        "What an uploaded picture shows, in the host's words",
        {
            200: schema.answer(schema.object_of({"prompt": {"type": "string"}}, ["prompt"]), "A prompt."),
            **schema.responses(400, 404, 411, 413, 415, 422, 503),
        },
        openapi_extra=schema.body(schema.object_of({"way": {"type": "string"}}, ["way"]), {"way": "clip"}),
    )
    async def describe_picture(request: Request, picture_id: str) -> Response:
        fields = await json_body(request)
        if set(fields) != {"way"} or not isinstance(fields["way"], str):
            raise InputError("Give way, how to describe the picture, and nothing else.")
        picture = routes.jobs.pictures.get(picture_id)
        asked = description(routes.jobs, picture, fields["way"])
        if not await routes.until(asked.done):
            asked.cancel()
            raise ClosedError("The description was given up; ask again in a moment.")
        return JSONResponse({"prompt": asked.result()})
