"""Upload a picture once, look at it, edit it many times."""

from __future__ import annotations

from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.errors import DragTextError, InputError
from .. import schema
from ..bodies import file_body, in_thread
from ..carried import carried
from ..job import EditJob
from ..originals import ITSELF, find_original
from ..pictures import Picture, file_name, kind_of, view_of
from ..queue import finished_edit
from .base import Routes, file

LEAST_VIEW, MOST_VIEW = 64, 4096


def add_pictures(routes: Routes) -> None:
    """Upload, view, and the file as it came."""
    pictures = routes.jobs.pictures

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
        """`request`: what the picture was made from, where it is a PNG of ours; `original`: the picture that this
        request is for, where it is still kept; `prompt`: of the request, or of the host's."""
        asker = routes.asker(request)

        def known(identifier: str) -> EditJob | None:
            try:
                return finished_edit(routes.jobs.get(identifier, asker))
            except DragTextError:
                return None

        def read(data: bytes) -> dict[str, Any]:
            picture = pictures.add(data)
            found = carried(picture, known)
            original = picture if found.original == ITSELF else None
            if original is None and found.original:
                original = find_original(found.original, pictures)
            if original is not None and original.size != picture.size:
                original = None  # the result was resized since
            return {
                **_facts(picture),
                "original": original and _facts(original),
                "request": found.request and found.request.to_data(chosen=True),
                "v": found.v and list(found.v),
                "prompt": found.prompt,
                "note": " ".join(part for part in (picture.note, found.note) if part),
            }

        return JSONResponse(await in_thread(read, await file_body(request)), 201)

    @routes.add(
        "GET",
        "/pictures/{picture_id}/view",
        "An uploaded picture as it is seen, reduced",
        {
            200: schema.file("JPEG, or PNG where it is transparent.", *schema.PICTURES),
            **schema.responses(404, 422),
        },
    )
    async def view_picture(request: Request, picture_id: str, side: str = "2048") -> Response:
        """`side`: the longer side in pixels, at most."""
        if not side.isdecimal() or not LEAST_VIEW <= int(side[:9]) <= MOST_VIEW:
            raise InputError(f"side is a whole number from {LEAST_VIEW} to {MOST_VIEW}.")
        return file(*await in_thread(view_of, pictures.get(picture_id), int(side)))

    @routes.add(
        "GET",
        "/pictures/{picture_id}/file",
        "An uploaded picture's file as it came",
        {200: schema.file("The file.", *schema.PICTURES), **schema.responses(404)},
    )
    async def picture_as_it_came(request: Request, picture_id: str) -> Response:
        picture = pictures.get(picture_id)
        media, _ = await in_thread(kind_of, picture.data)
        return file(picture.data, media, await in_thread(file_name, picture))


def _facts(picture: Picture) -> dict[str, Any]:
    return {"id": picture.id, "width": picture.size[1], "height": picture.size[0]}
