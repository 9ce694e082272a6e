"""Requests from files and to files, and the examples."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from PIL import Image

from ...sdk.evaluation.examples import examples
from ...sdk.picture.files import METADATA_KEY
from .. import schema, shapes
from ..answers import refused
from ..bodies import file_body, in_thread, masked_body
from ..exchange import exported, request_in
from ..originals import ITSELF, ORIGINAL_KEY
from ..pictures import png_file
from .base import Routes, file

REQUEST_FILES = ("application/json", "text/plain")


def add_exchange(routes: Routes) -> None:
    """Read a request from a file, write one into a file."""

    @routes.add(
        "POST",
        "/requests",
        "The request in a file",
        {
            200: schema.answer(shapes.found_request_schema(), "The request; of several, the first."),
            **schema.responses(400, 411, 413, 415, 422),
        },
        openapi_extra=schema.file_body(*REQUEST_FILES),
    )
    async def read_request(request: Request) -> Response:
        """A `meta_data.pkl` of DragBench, a `points.json` of Drag100, a request as JSON, or a PNG of an edit."""
        return JSONResponse(await in_thread(request_in, await file_body(request, *REQUEST_FILES)))

    @routes.add(
        "POST",
        "/export",
        "A request as a file",
        {
            200: schema.file(
                "JSON, or a zip of a folder as the benchmark has it.", "application/json", "application/zip"
            ),
            **schema.responses(400, 404, 411, 413, 415, 422),
        },
        openapi_extra=schema.body(
            shapes.export_schema(), {"format": "dragbench", "picture": "...", "drags": [[[120, 80], [180, 80]]]}
        ),
    )
    async def export_request(request: Request) -> Response:
        return file(*await in_thread(exported, routes.jobs.pictures, await masked_body(request)))


def add_examples(routes: Routes) -> None:
    """The demonstration's drags, to begin with."""

    @routes.add(
        "GET", "/examples", "Drags to begin with", {200: schema.answer({"type": "array"}, "Name, title, prompt.")}
    )
    async def list_examples(request: Request) -> Response:
        def known() -> list[dict[str, Any]]:
            return [{"name": one.name, "title": one.title, "prompt": one.prompt} for one in examples()]

        return JSONResponse(await in_thread(known))

    @routes.add(
        "GET",
        "/examples/{name}",
        "An example as a PNG that carries its request",
        {200: schema.file("The picture.", "image/png"), **schema.responses(404)},
    )
    async def example(request: Request, name: str) -> Response:
        def drawn() -> bytes | None:
            found = next((one for one in examples() if one.name == name), None)
            if found is None:
                return None
            request = json.dumps(found.request.to_data(chosen=True))  # the settings are the model's
            return png_file(Image.fromarray(found.picture), "", {METADATA_KEY: request, ORIGINAL_KEY: ITSELF})

        data = await in_thread(drawn)
        if data is None:
            return refused(404, "UnknownExample", "There is no such example.")
        return file(data, "image/png")
