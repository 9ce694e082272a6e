"""The stage alone in a real browser, with a server that is made up (harness.mjs), as a person uses it."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .person import WAIT, Person

ROOT = Path(__file__).parents[2]


class Files(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture
def visit(browser, address):
    """visit(query, **context): a Person on the harness page, who must not have seen an error."""

    @contextmanager
    def opened(query: str = "size=768x768", **context):
        context = {"viewport": {"width": 1280, "height": 800}, **context}
        tab = browser.new_context(**context)
        page, seen = tab.new_page(), []
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("console", lambda message: message.type == "error" and seen.append(message.text))
        page.goto(f"{address}/tests/stage/harness.html?{query}")
        page.wait_for_function("() => window.harness", timeout=WAIT)
        yield Person(page)
        tab.close()
        assert not seen

    return opened
