"""What can be asked for, and whether this works."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.drag import METHODS, defaults_of
from ...sdk.settings import catalogue
from .. import schema
from ..answers import refused
from ..bodies import in_thread
from ..report import bug_report, version
from .base import Routes

SCRIPTS = Path(__file__).resolve().parents[2] / "javascript"


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
        {200: schema.file("Lines of text.", "text/plain"), **schema.responses()},
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
