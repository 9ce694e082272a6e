"""The HTTP routes, on the host's own FastAPI application: edits as jobs.

One router, mounted twice: always for the page (`/dragtext/internal`, with a header that only our page sends, and only
that page's own jobs), and for scripts where the host has its API on (`/dragtext/v1`). Nothing that comes in is ever
taken as a path, nothing is parsed or decoded on the event loop, and no thread waits for a job.
"""

from __future__ import annotations

from typing import Any

from ..queue import Jobs
from .afterwards import add_afterwards
from .base import API, PAGE, Routes
from .describing import add_describing
from .edits import add_edits
from .exchange import add_examples, add_exchange
from .facts import add_facts, add_scripts
from .following import add_following
from .looking import add_looking
from .pictures import add_pictures
from .settings import add_expectation, add_presets

__all__ = ["API", "PAGE", "add_routes"]

PARTS = (add_edits, add_following, add_afterwards, add_pictures, add_looking, add_exchange, add_facts)
PAGES_OWN = (add_examples, add_describing, add_presets, add_expectation, add_scripts)


def add_routes(app: Any, jobs: Jobs) -> None:
    """Put the routes on a FastAPI application, once; a reloaded page brings a new application."""
    if getattr(app.state, "dragtext", None) is not None:
        return
    app.state.dragtext = jobs
    for for_page in (True, False) if jobs.host.has_public_api else (True,):
        routes = Routes(app, jobs, for_page=for_page)
        for add in (*PARTS, *PAGES_OWN) if for_page else PARTS:
            add(routes)
        app.include_router(routes.router)
    app.openapi_schema = None  # it may have been asked for already
