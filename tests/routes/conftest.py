"""A server with our routes and what is asked of it."""

from __future__ import annotations

import base64

import numpy as np
import pytest
from dragtext.extension.queue import Jobs
from PIL import Image

from ..helpers import encoded
from ..jobs import QUICK, picture

SETTINGS = {**QUICK, "lora_steps": 0}
ROOT = "/dragtext/internal"  # the page's own routes
PAGE, OTHER = {"x-dragtext": "a" * 32}, {"x-dragtext": "b" * 32}  # what two pages send with everything
MASK = np.zeros((64, 80), bool)
MASK[20:40, 10:60] = True


def in_base64(image: Image.Image, kind: str = "PNG") -> str:
    return base64.b64encode(encoded(image, kind)).decode()


def edit(**more) -> dict:
    """The body that creates an edit and waits for it."""
    drags = [[[20, 30], [50, 30]]]
    return {
        "image": in_base64(picture()),
        "prompt": "a cat",
        "drags": drags,
        "settings": SETTINGS,
        "wait": True,
        **more,
    }


@pytest.fixture
def client(host):
    """Asks a server on the host that has its API on."""
    fastapi = pytest.importorskip("fastapi")
    testclient = pytest.importorskip("fastapi.testclient")
    routes = pytest.importorskip("dragtext.extension.routes")
    app = fastapi.FastAPI()
    app.tokens = {}
    host.has_public_api = True
    jobs = Jobs(host)
    routes.add_routes(app, jobs)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        client.jobs = jobs
        yield client
    host.hold.set()
    jobs.close()


def post(client, path: str, body: dict, page=PAGE):
    return client.post(f"{ROOT}/{path}", json=body, headers=page)


def get(client, path: str, page=PAGE, **more):
    return client.get(f"{ROOT}/{path}", headers=page, **more)


def upload(client, data: bytes, page=PAGE) -> dict:
    """What the answer says of a picture's file."""
    answer = client.post(f"{ROOT}/pictures", content=data, headers={**page, "content-type": "application/octet-stream"})
    assert answer.status_code == 201, answer.text
    return answer.json()


def refused(answer, status: int, words: str) -> None:
    """An answer that is one sentence."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "detail"}
    assert words in body["detail"]
    assert "\n" not in body["detail"]
