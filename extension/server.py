"""The tab and the routes on gradio's own server, until it is told to end."""

from __future__ import annotations

import inspect
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from ..sdk.errors import InputError
from ..sdk.picture.reading import PICTURE_FORMATS
from .doors import Doors, allowed_names, is_local

LAST_STEP = 60.0  # seconds for what runs to stop at its next step and keep its best so far
CLOSING = 3.0  # seconds for open connections
KEPT = 24 * 3600  # seconds that gradio keeps the files of a page
SCRIPTS = Path(__file__).resolve().parent.parent
# gradio has no name for "import this module"; an event at the page's load may run a script of one expression.
LOAD = (
    "() => { import(`${location.pathname.replace(/\\/+$/, '')}/dragtext/internal/javascript/dragtext_page.mjs`);"
    " return [] }"
)
# gradio would leave a third of a wide window empty, and its box that hides what is too wide holds what should stick.
WHOLE_WINDOW = """.gradio-container { max-width: none !important; overflow: clip !important; }
.gradio-container > .main { max-width: none !important; }"""
FONTS = {
    "font": ["system-ui", "-apple-system", "Segoe UI", "sans-serif"],
    "font_mono": ["ui-monospace", "Consolas", "monospace"],
}


def serve(jobs: Any, host: str, port: int, names: Iterable[str] = ()) -> None:
    """Serve the tab, and the API if the host has it, until Ctrl-C or SIGTERM. names: more names of this server."""
    accounts = jobs.host.accounts()
    if not is_local(host) and not accounts.page:
        typer.echo(
            f"Warning: everybody who can reach {host}:{port} may use this page; add --auth NAME:PASSWORD.", err=True
        )
    _only_known_formats()
    ending = _Ending()
    with _own_files() as files, ending.listening():
        page = _launch(jobs, host, port, files, names)
        typer.echo(f"DragText is at http://{host}:{port}/ (Ctrl-C ends it)", err=True)
        ending.wait()
        typer.echo("Ending; a running edit stops at its next step and keeps its best so far.", err=True)
        ended = jobs.close(LAST_STEP)
        _close(page)
    if not ended:
        # A thread inside torch cannot be ended, and Python would abort on it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)


def _launch(jobs: Any, host: str, port: int, files: Path, names: Iterable[str]) -> Any:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(files)
    import gradio as gr
    from starlette.middleware import Middleware

    from .layout import build
    from .routes import add_routes

    tab = build(jobs)
    more: dict[str, Any] = {}
    if "delete_cache" in inspect.signature(gr.Blocks).parameters:
        more["delete_cache"] = (3600, KEPT)
    with gr.Blocks(
        title="DragText",
        css=f"{_style()}\n{WHOLE_WINDOW}",
        theme=gr.themes.Default(**FONTS),
        analytics_enabled=False,
        **more,
    ) as page:
        tab.render()
        name = "js" if "js" in inspect.signature(page.load).parameters else "_js"
        page.load(None, [], [], **{name: LOAD})
    accounts = jobs.host.accounts()
    doors = Middleware(
        Doors,
        # With a login, another site's page has no way in under whatever name.
        names=None if accounts.page else allowed_names(host, names),
        files=files,
        proxied=bool(jobs.host.option("behind_proxy")),
    )
    try:
        app, _, _ = page.launch(
            server_name=host,
            server_port=port,
            auth=list(accounts.page.items()) or None,
            prevent_thread_lock=True,
            show_api=False,
            quiet=True,
            # FastAPI's own page about routes loads a script from elsewhere; /openapi.json says the same.
            app_kwargs={"docs_url": None, "redoc_url": None, "middleware": [doors]},
        )
    except OSError as error:
        raise InputError(f"Port {port} of {host} cannot be used ({error}); choose another with --port.") from None
    # gradio 3 lets every site's pages read what it serves; WebUIs take that away too.
    app.user_middleware = [part for part in app.user_middleware if part.cls.__name__ != "CORSMiddleware"]
    app.middleware_stack = None
    add_routes(app, jobs)
    return page


class _Ending:
    """Waits for Ctrl-C or SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self._told = threading.Event()

    @contextmanager
    def listening(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._hear) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def wait(self) -> None:
        while not self._told.wait(0.5):  # short, so that a signal is heard on every system
            pass

    def _hear(self, number: int, _frame: Any) -> None:
        if self._told.is_set():
            os._exit(128 + number)
        self._told.set()


@contextmanager
def _own_files() -> Iterator[Path]:
    """A folder for what gradio writes, gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dragtext-ui-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _close(page: Any) -> None:
    """End the server: politely, then with connections that are still open, which gradio 3 waits for without end."""
    # What is cut off there would be written as errors, one traceback each.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    server = page.server
    server.should_exit = True
    server.thread.join(CLOSING)
    if server.thread.is_alive():
        server.force_exit = True
        server.thread.join(CLOSING)


def _style() -> str:
    for path in (SCRIPTS / "style.css", SCRIPTS / "javascript" / "style.css"):
        if path.is_file():
            return path.read_text(encoding="utf-8")
    return ""


def _only_known_formats() -> None:
    """This process opens no picture but of the SDK's formats: gradio decodes uploads before we see them."""
    from PIL import Image

    Image.init()
    for name in [name for name in Image.ID if name not in PICTURE_FORMATS]:
        Image.ID.remove(name)
