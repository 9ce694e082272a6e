"""The router, and what every endpoint has around it: who may ask, whose job it is, and mistakes as sentences."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from fastapi import APIRouter, Request, Response

from ...sdk.errors import DragTextError
from .. import schema
from ..access import RefusedError, check_access, page_of
from ..answers import refusal, refused
from ..job import Job
from ..queue import Jobs

log = logging.getLogger("dragtext")

API = "/dragtext/v1"
PAGE = "/dragtext/internal"
POLL = 0.1
LONGEST_WAIT = 600.0  # seconds; an open request holds up a reload of the host's page
NEVER_STORED = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

Endpoint = Callable[..., Awaitable[Response]]


def file(data: bytes | str, media: str, name: str | None = None) -> Response:
    """A file as an answer that nobody keeps. name: under which a browser saves it instead of showing it."""
    saved = {} if name is None else {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type=media, headers={**NEVER_STORED, **saved})


class Routes:
    """A router and what its endpoints share. for_page: the page's own, else those for scripts."""

    def __init__(self, app: Any, jobs: Jobs, *, for_page: bool) -> None:
        self.app, self.jobs, self.for_page = app, jobs, for_page
        self.dialect = str(getattr(app, "openapi_version", "3.1.0"))
        self.router = APIRouter(prefix=PAGE if for_page else API, tags=["DragText"], include_in_schema=not for_page)

    def asker(self, request: Request) -> str | None:
        """The page that asks; None for scripts, which own nothing and see everything."""
        return page_of(request.headers) if self.for_page else None

    def owner(self, request: Request) -> str:
        """To whom belongs what is made now."""
        return self.asker(request) or ""

    def job(self, request: Request, identifier: str) -> Job:
        """Raises UnknownJobError, also for another page's job."""
        return self.jobs.get(identifier, self.asker(request))

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
                self.asker(request)
                return await endpoint(request, **parameters)
            except RefusedError as error:
                headers = {"WWW-Authenticate": "Basic"} if error.status == 401 and not self.for_page else None
                return refused(error.status, "Refused", error.message, headers)
            except DragTextError as error:
                return refusal(error)
            except Exception as error:
                log.exception("%s %s failed", request.method, request.url.path)
                return refused(500, type(error).__name__, "Something broke; the WebUI's log says what.")

        return answer

    async def until(self, over: Callable[[], bool]) -> bool:
        """Wait without holding a thread, and not beyond a reload; whether it is over."""
        deadline = time.monotonic() + LONGEST_WAIT
        while not over() and not self.jobs.closed and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        return over()

    async def until_ended(self, job: Job) -> bool:
        """`until` the job has ended."""
        return await self.until(job.ended.is_set)
