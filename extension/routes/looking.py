"""What is asked of an uploaded picture while somebody draws on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from .. import looking, schema, shapes
from ..bodies import in_thread, masked_body
from ..pictures import Picture
from .base import Routes

ERRORS = schema.responses(400, 404, 411, 413, 415, 422)


def add_looking(routes: Routes) -> None:
    """Pick a region, the mask that follows from it, and what a warped start would move."""
    pictures = routes.jobs.pictures

    async def found(
        request: Request, picture_id: str, look: Callable[[Picture, Mapping[str, Any]], dict[str, Any]]
    ) -> Response:
        fields = await masked_body(request)
        return JSONResponse(await in_thread(look, pictures.get(picture_id), fields))

    @routes.add(
        "POST",
        "/pictures/{picture_id}/region",
        "What somebody points at",
        {200: schema.answer(shapes.region_schema(), "The region; 422 where nothing stands out."), **ERRORS},
        openapi_extra=schema.body(shapes.pick_schema(), {"handles": [[120, 80]]}),
    )
    async def pick_region(request: Request, picture_id: str) -> Response:
        return await found(request, picture_id, looking.pick)

    @routes.add(
        "POST",
        "/pictures/{picture_id}/mask",
        "The mask that follows from a region and drags",
        {200: schema.answer(shapes.mask_schema(), "The mask."), **ERRORS},
        openapi_extra=schema.body(shapes.drawn_schema("region"), {"drags": [[[120, 80], [180, 80]]], "region": "..."}),
    )
    async def mask_of_region(request: Request, picture_id: str) -> Response:
        return await found(request, picture_id, looking.mask_for)

    @routes.add(
        "POST",
        "/pictures/{picture_id}/start",
        "What a warped start would move, and the picture without it",
        {200: schema.answer(shapes.start_schema(), "Each region with its drags."), **ERRORS},
        openapi_extra=schema.body(shapes.drawn_schema("drags"), {"drags": [[[120, 80], [180, 80]]]}),
    )
    async def start_of_drags(request: Request, picture_id: str) -> Response:
        return await found(request, picture_id, looking.start_of)
