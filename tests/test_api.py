"""The HTTP API: what it answers, whom it lets in, and that nothing strange that is sent breaks it."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from dragtext.extension import schema
from dragtext.extension.hosts.base import Accounts
from dragtext.extension.queue import Jobs
from PIL import Image

from .test_jobs import QUICK, picture

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")
api = pytest.importorskip("dragtext.extension.routes")
bodies = pytest.importorskip("dragtext.extension.bodies")

SETTINGS = {**QUICK, "lora_steps": 0}


def encoded(image: Image.Image, kind: str = "PNG") -> str:
    return base64.b64encode(file_of(image, kind)).decode()


def file_of(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def edit(**more) -> dict:
    drags = [[[20, 30], [50, 30]]]
    return {"image": encoded(picture()), "prompt": "a cat", "drags": drags, "settings": SETTINGS, "wait": True, **more}


@pytest.fixture
def client(host):
    app = fastapi.FastAPI()
    app.tokens = {}
    jobs = Jobs(host)
    api.add_routes(app, jobs)
    with testclient.TestClient(app, raise_server_exceptions=False) as client:
        client.jobs = jobs
        yield client
    host.hold.set()
    jobs.close()


def refused(answer, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error", "detail"}
    assert words in body["detail"]
    assert "\n" not in body["detail"]


def test_an_edit_from_first_to_last(client):
    job = client.post("/dragtext/v1/edits", json=edit(id="mine"))
    assert job.status_code == 200, job.text
    state = job.json()
    assert (state["id"], state["state"], state["error"], state["saved"]) == ("mine", "done", None, "saved.png")
    assert state["preview"] is None
    assert state["preview_version"] >= 1

    seen = client.get("/dragtext/v1/edits/mine", params={"seen": "0"}).json()
    assert Image.open(io.BytesIO(base64.b64decode(seen["preview"]))).size == (80, 64)
    same = client.get("/dragtext/v1/edits/mine", params={"seen": str(state["preview_version"])}).json()
    assert same["preview"] is None

    result = client.get("/dragtext/v1/edits/mine/result").json()
    image = Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert image.size == (80, 64)
    assert image.info["parameters"] == result["infotext"]
    assert result["report"]["settings"]["steps"] == 3
    assert len(result["trajectory"][0]) == 1

    file = client.get("/dragtext/v1/edits/mine/image")
    assert file.headers["content-type"] == "image/png"
    assert np.array_equal(np.array(Image.open(io.BytesIO(file.content))), np.array(image))

    # The request that comes back makes the same edit again.
    again = client.post("/dragtext/v1/edits", json={**result["request"], "image": edit()["image"], "wait": True})
    assert client.get(f"/dragtext/v1/edits/{again.json()['id']}/result").json()["image"] == result["image"]

    drawn = client.post("/dragtext/v1/edits/mine/render", json={"v": 0.5}).json()
    assert Image.open(io.BytesIO(base64.b64decode(drawn["image"]))).size == (80, 64)
    assert [job["id"] for job in client.get("/dragtext/v1/edits").json()] == ["mine", again.json()["id"]]


def test_a_form_with_files(client):
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 10:60] = 255
    request = {key: value for key, value in edit().items() if key != "image"}
    files = {"image": ("a.jpg", file_of(picture(), "JPEG")), "mask": ("m.png", file_of(Image.fromarray(mask)))}
    answer = client.post("/dragtext/v1/edits", data={"request": json.dumps(request)}, files=files)
    assert answer.json()["state"] == "done", answer.text
    result = client.get(f"/dragtext/v1/edits/{answer.json()['id']}/result").json()
    assert result["request"]["mask"].startswith("data:image/png")


def test_a_job_is_answered_at_once_and_can_be_interrupted(client, host):
    host.hold.clear()
    answer = client.post("/dragtext/v1/edits", json=edit(wait=False))
    assert answer.status_code == 202
    job = f"/dragtext/v1/edits/{answer.json()['id']}"
    assert client.get(job).json()["state"] == "queued"
    refused(client.get(f"{job}/result"), 409, "not finished")
    assert client.post(f"{job}/interrupt").json()["state"] == "interrupted"
    assert client.get(job).json()["error"]["kind"] == "InterruptedEditError"
    refused(client.get(f"{job}/result"), 409, "Stopped while it waited")


def test_a_second_use_of_an_id_and_a_full_queue(client, host):
    host.hold.clear()
    assert client.post("/dragtext/v1/edits", json=edit(wait=False, id="mine")).status_code == 202
    refused(client.post("/dragtext/v1/edits", json=edit(wait=False, id="mine")), 409, "submitted already")
    statuses = {client.post("/dragtext/v1/edits", json=edit(wait=False)).status_code for _ in range(40)}
    assert statuses == {202, 429}
    for job in client.jobs.all():
        client.jobs.interrupt(job)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": None}, "no image"),
        ({"image": "not base64!"}, "not valid base64"),
        ({"image": ""}, "empty"),
        ({"image": "aGVsbG8="}, "not a picture"),
        ({"image": "/etc/passwd"}, "base64"),
        ({"image": ["a"]}, "base64"),
        ({"image": encoded(Image.new("RGB", (10, 10)))}, "at least 64"),
        ({"mask": "/etc/passwd"}, "base64"),
        ({"mask": "data:image/png;base64,aGVsbG8="}, "not a picture"),
        ({"mask": encoded(Image.new("L", (10, 10), 255))}, "same size"),
        ({"mask": encoded(Image.new("L", (80, 64), 0))}, "mask is empty"),
        ({"drags": []}, "no drags"),
        ({"drags": None}, "no drags"),
        ({"drags": [[[20, 30], [500, 30]]]}, "outside the image"),
        ({"drags": [[[20, 30], [20, 30]]]}, "both at"),
        ({"drags": "x"}, "pair of (x, y) points"),
        ({"drags": {"a": 1}}, "pair of (x, y) points"),
        ({"prompt": 5}, "must be text"),
        ({"settings": {"stepz": 1}}, "Unknown setting 'stepz'"),
        ({"settings": {"steps": -1}}, "Setting 'steps'"),
        ({"settings": {"method": "magic"}}, "Unknown method 'magic'"),
        ({"settings": [1]}, "must be an object"),
        ({"wait": "yes"}, "true or false"),
        ({"save": 1}, "true or false"),
        ({"id": "../../etc"}, "letters"),
        ({"id": 7}, "letters"),
        ({"id": "mine\n"}, "letters"),
        ({"output": "/tmp/x.png"}, "Unknown request field 'output'"),
    ],
)
def test_bad_fields(client, change, words):
    refused(client.post("/dragtext/v1/edits", json=edit(**change)), 422, words)
    assert client.jobs.all() == []


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e400"])
def test_numbers_that_are_none(client, value):
    body = json.dumps(edit()).replace('"steps": 3', f'"steps": 3, "lr": {value}')
    answer = client.post("/dragtext/v1/edits", content=body, headers={"content-type": "application/json"})
    refused(answer, 422, "lr")


@pytest.mark.parametrize(
    ("content", "kind", "status", "words"),
    [
        (b"{", "application/json", 400, "not valid JSON"),
        (b"\xff\xfe", "application/json", 400, "not valid JSON"),
        (b"[" * 100_000, "application/json", 400, "not valid JSON"),
        (b"[]", "application/json", 422, "JSON object"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"{}", "", 415, "application/json"),
        (b"nonsense", "multipart/form-data", 400, "form cannot be read"),
    ],
)
def test_bodies_that_cannot_be_read(client, content, kind, status, words):
    refused(client.post("/dragtext/v1/edits", content=content, headers={"content-type": kind}), status, words)


def test_bodies_that_are_too_large(client, monkeypatch):
    monkeypatch.setattr(bodies, "MAX_BODY", 2**20)
    refused(client.post("/dragtext/v1/edits", json=edit(prompt="x" * 2**20)), 413, "larger than 1 MB")

    def endless():
        yield b"{" * 1000

    kind = {"content-type": "application/json"}
    refused(client.post("/dragtext/v1/edits", content=endless(), headers=kind), 411, "length")


@pytest.mark.parametrize("seen", ["x", "-1", "1.5", "9" * 5000, "²"])
def test_versions_that_are_none(client, seen):
    client.post("/dragtext/v1/edits", json=edit(id="mine"))
    refused(client.get("/dragtext/v1/edits/mine", params={"seen": seen}), 422, "whole number")


@pytest.mark.parametrize("path", ["nothing", "..%2f..%2fetc%2fpasswd", "%00", "a" * 5000])
def test_unknown_edits(client, path):
    for answer in (
        client.get(f"/dragtext/v1/edits/{path}"),
        client.get(f"/dragtext/v1/edits/{path}/result"),
        client.get(f"/dragtext/v1/edits/{path}/image"),
        client.post(f"/dragtext/v1/edits/{path}/interrupt"),
        client.post(f"/dragtext/v1/edits/{path}/render", json={"v": 1}),
    ):
        assert answer.status_code == 404
        assert "passwd" not in answer.text or "There is no edit" in answer.text


@pytest.mark.parametrize(
    "body", [{}, {"v": "1"}, {"v": True}, {"v": None}, {"v": 1, "text": "x"}, {"v": 1e9}, {"w": 1}]
)
def test_points_of_the_way_that_are_none(client, body):
    answer = client.post("/dragtext/v1/edits/nothing/render", json=body)
    assert answer.status_code == 422


def test_what_methods_and_settings_there_are(client):
    assert set(client.get("/dragtext/v1/methods").json()) == {"gooddrag", "dragdiffusion", "freedrag", "dragnoise"}
    described = client.get("/dragtext/v1/settings").json()
    assert described["properties"]["strength"]["maximum"] == 1
    assert client.get("/dragtext/v1/health").json()["host"] == "test"
    document = client.get("/openapi.json").json()
    assert "example" in document["paths"]["/dragtext/v1/edits"]["post"]["requestBody"]["content"]["application/json"]


def test_adding_the_routes_twice_changes_nothing(client):
    before = len(client.app.routes)
    api.add_routes(client.app, client.jobs)
    assert len(client.app.routes) == before


@pytest.mark.parametrize(
    ("accounts", "cookies", "login", "status"),
    [
        (Accounts({}, {}), {}, None, 200),
        (Accounts({"me": "secret"}, {}), {}, None, 401),
        (Accounts({}, {"me": "secret"}), {}, None, 401),
        (Accounts({}, {"me": "secret"}), {}, ("me", "wrong"), 401),
        (Accounts({}, {"me": "secret"}), {}, ("you", "secret"), 401),
        (Accounts({}, {"me": "secret"}), {}, ("me", "secret"), 200),
        (Accounts({"me": "secret"}, {}), {}, ("me", "secret"), 200),
        (Accounts({"me": "secret"}, {}), {"access-token": "good"}, None, 200),
        (Accounts({"me": "secret"}, {}), {"access-token-unsecure-x1": "good"}, None, 200),
        (Accounts({"me": "secret"}, {}), {"access-token": "bad"}, None, 401),
        (Accounts({"me": "secret"}, {}), {"other": "good"}, None, 401),
        (Accounts({}, {"me": "secret"}), {"access-token": "good"}, None, 401),
    ],
)
def test_logins(client, host, accounts, cookies, login, status):
    host.known = accounts
    client.app.tokens = {"good": "me"}
    client.cookies.update(cookies)
    answer = client.get("/dragtext/v1/health", auth=login)
    assert answer.status_code == status
    if status == 401:
        refused(answer, 401, "login")
        assert answer.headers["www-authenticate"] == "Basic"
        refused(client.post("/dragtext/v1/edits", json=edit()), 401, "login")
        assert client.jobs.all() == []


def test_broken_credentials(client, host):
    host.known = Accounts({}, {"me": "secret"})
    for value in ("Basic", "Basic !!!", "Basic bWU=", "Bearer bWU6c2VjcmV0", "Basic /////w=="):
        assert client.get("/dragtext/v1/health", headers={"authorization": value}).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 404),
        ({"origin": "http://testserver"}, 404),
        ({"sec-fetch-site": "same-origin", "origin": "https://proxy.example"}, 404),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
    ],
)
def test_other_sites_pages_change_and_read_nothing(client, headers, status):
    assert client.post("/dragtext/v1/edits/nothing/interrupt", headers=headers).status_code == status
    # Neither may they read: some hosts allow every origin.
    assert client.get("/dragtext/v1/health", headers=headers).status_code == (200 if status == 404 else 403)


def test_the_document_describes_what_is_answered(client):
    schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    document = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    count = 0
    for result in document.get_all_operations():
        operation = result.ok()
        for case in examples(operation, 12):
            # That a text is a picture in base64 no schema can say.
            case.call_and_validate(excluded_checks=[positive_data_acceptance])
            count += 1
    assert count > 50


def examples(operation, number: int):
    from hypothesis import HealthCheck, Phase, given, settings

    found = []

    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    @given(case=operation.as_strategy())
    def collect(case):
        found.append(case)

    collect()
    return found


def test_the_description_in_the_older_dialect():
    newer = {
        "a": {"type": ["number", "null"], "exclusiveMinimum": 0},
        "b": [{"anyOf": [{"type": "object"}, {"type": "null"}]}],
        "c": {"exclusiveMinimum": 1, "type": "number"},
    }
    assert schema.in_dialect(newer, "3.1.0") == newer
    assert schema.in_dialect(newer, "3.0.2") == {
        "a": {"type": "number", "nullable": True, "minimum": 0},
        "b": [{"type": "object", "nullable": True}],
        "c": {"type": "number", "minimum": 1},
    }
