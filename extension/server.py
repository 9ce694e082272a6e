"""The tab and the HTTP API on gradio's own server, until Ctrl-C."""

from __future__ import annotations

import inspect
import os
import signal
from typing import Any

import typer

from ..sdk.errors import InputError


def serve(jobs: Any, host: str, port: int) -> None:
    """Serve the tab, and the API if the host has it, until Ctrl-C."""
    import gradio as gr

    from .layout import build
    from .routes import add_routes

    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    page = build(jobs)
    page.title = "DragText"
    parameters = inspect.signature(gr.Blocks.queue).parameters
    # Each open page that follows an edit takes one of these.
    limit = "default_concurrency_limit" if "default_concurrency_limit" in parameters else "concurrency_count"
    page.queue(**{limit: 16})
    login = list(jobs.host.accounts().page.items()) or None
    try:
        app, _, _ = page.launch(
            server_name=host,
            server_port=port,
            auth=login,
            prevent_thread_lock=True,
            show_api=False,
            quiet=True,
            app_kwargs={"docs_url": "/docs" if jobs.host.has_public_api else None},
        )
    except OSError as error:
        raise InputError(f"Port {port} of {host} cannot be used ({error}); choose another with --port.") from None
    # gradio 3 lets every site's pages read what it serves; WebUIs take that away too.
    app.user_middleware = [part for part in app.user_middleware if part.cls.__name__ != "CORSMiddleware"]
    app.middleware_stack = None
    if jobs.host.has_public_api:
        add_routes(app, jobs)
    for ending in (signal.SIGINT, signal.SIGTERM):  # also where a parent made us ignore them
        signal.signal(ending, signal.default_int_handler)
    typer.echo(f"DragText is at http://{host}:{port}/ (Ctrl-C ends it)", err=True)
    try:
        page.block_thread()
    finally:
        jobs.close()
