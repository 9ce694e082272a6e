"""The HTTP API: what it answers, whom it lets in, and that nothing strange that is sent breaks it."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dragtext.extension import queue, schema
from dragtext.extension.hosts.base import Accounts
from dragtext.extension.queue import Jobs
from dragtext.sdk.drag import METHODS
from PIL import Image

from .helpers import encoded
from .test_jobs import QUICK, picture

fastapi = pytest.importorskip("fastapi")
testclient = pytest.importorskip("fastapi.testclient")
routes = pytest.importorskip("dragtext.extension.routes")
bodies = pytest.importorskip("dragtext.extension.bodies")

SETTINGS = {**QUICK, "lora_steps": 0}


def in_base64(image: Image.Image, kind: str = "PNG") -> str:
    return base64.b64encode(encoded(image, kind)).decode()


def edit(**more) -> dict:
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
    preview = Image.open(io.BytesIO(base64.b64decode(seen["preview"])))
    assert (preview.format, preview.size) == ("JPEG", (80, 64))
    for picture_of in ("preview", "standing"):
        shown = client.get(f"/dragtext/v1/edits/mine/{picture_of}")
        assert (shown.headers["content-type"], shown.headers["cache-control"]) == ("image/jpeg", "no-store")
        assert Image.open(io.BytesIO(shown.content)).size == (80, 64)
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
    repeated = client.get(f"/dragtext/v1/edits/{again.json()['id']}/image").content
    assert np.array_equal(np.array(Image.open(io.BytesIO(repeated))), np.array(image))

    drawn = client.post("/dragtext/v1/edits/mine/render", json={"v": 0.5}).json()
    assert Image.open(io.BytesIO(base64.b64decode(drawn["image"]))).size == (80, 64)
    known = client.get("/dragtext/v1/edits").json()
    assert [(job["kind"], job["v"]) for job in known] == [("edit", [1, 1]), ("edit", [1, 1]), ("render", [0.5, 0.5])]
    assert [job["id"] for job in known[:2]] == ["mine", again.json()["id"]]

    # A rendering that is not waited for is a job like others; its picture carries its point.
    later = client.post("/dragtext/v1/edits/mine/render", json={"v": 0.5, "wait": False})
    assert (later.status_code, later.json()["kind"]) == (202, "render")
    rendered = client.jobs.get(later.json()["id"])
    assert rendered.ended.wait(60)
    file = client.get(f"/dragtext/v1/edits/{rendered.id}/image").content
    opened = Image.open(io.BytesIO(file))
    assert np.array_equal(np.array(opened), np.array(Image.open(io.BytesIO(base64.b64decode(drawn["image"])))))
    assert (opened.info["dragtext_v"], "DragText v: 0.5" in opened.info["parameters"]) == ("0.5/0.5", True)

    assert client.delete("/dragtext/v1/edits/mine").json()["state"] == "done"
    refused(client.get("/dragtext/v1/edits/mine"), 404, "no edit mine")
    refused(client.get(f"/dragtext/v1/edits/{rendered.id}/image"), 404, "There is no edit")


def test_a_picture_is_uploaded_once(client):
    kind = {"content-type": "image/png"}
    sent = client.post("/dragtext/v1/pictures", content=encoded(picture()), headers=kind)
    assert sent.status_code == 201, sent.text
    assert (sent.json()["width"], sent.json()["height"]) == (80, 64)
    body = edit(picture=sent.json()["id"])
    refused(client.post("/dragtext/v1/edits", json=body), 422, "not both")
    del body["image"]
    first, second = (client.post("/dragtext/v1/edits", json=body).json() for _ in range(2))
    assert (first["state"], second["state"]) == ("done", "done")
    refused(client.post("/dragtext/v1/edits", json={**body, "picture": "x"}), 404, "upload it again")
    refused(client.post("/dragtext/v1/edits", json={**body, "picture": 5}), 422, "id of an uploaded")
    for content, kind, status, words in (
        (b"nonsense", "image/png", 422, "not a picture"),
        (b"", "image/png", 422, "empty"),
        (b"x", "text/html", 415, "file itself"),
    ):
        refused(client.post("/dragtext/v1/pictures", content=content, headers={"content-type": kind}), status, words)


def test_uploads_stay_within_a_budget(client):
    client.jobs.pictures._budget = 50_000
    ids = [client.jobs.pictures.add(picture(seed)).id for seed in range(4)]
    client.jobs.pictures.get(ids[-1])
    refused(client.post("/dragtext/v1/edits", json={"picture": ids[0], "drags": edit()["drags"]}), 404, "long ago")


def test_a_form_with_files(client):
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 10:60] = 255
    request = {key: value for key, value in edit().items() if key != "image"}
    files = {"image": ("a.jpg", encoded(picture(), "JPEG")), "mask": ("m.png", encoded(Image.fromarray(mask)))}
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
        ({"image": in_base64(Image.new("RGB", (10, 10)))}, "at least 64"),
        ({"mask": "/etc/passwd"}, "base64"),
        ({"mask": "data:image/png;base64,aGVsbG8="}, "not a picture"),
        ({"mask": in_base64(Image.new("L", (10, 10), 255))}, "same size"),
        ({"mask": in_base64(Image.new("L", (80, 64), 0))}, "mask is empty"),
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
        ({"settings": {"steps": True}}, "steps"),
        ({"settings": {"lr": True}}, "lr"),
        ({"settings": {"seed": False}}, "seed"),
        ({"drags": [[[True, 30], [50, 30]]]}, "point"),
        ({"drags": [[[20, 30], [50, 30]]] * 101}, "the most is 100"),
        ({"drags": [[20, 30], [50, 30]] * 101}, "the most is 100"),
        ({"drags": [[[20, 30], [50, 30]]] * 20_000}, "too many values"),
        ({"drags": [[["x" * 5000, 30], [50, 30]]]}, "point"),
        ({"prompt": "x" * 10_001}, "the most is 10000"),
        ({"prompt": "half \ud83d"}, "surrogate"),
        ({"settings": {"half \ud83d": 1}}, "Unknown setting"),
        ({"half \ud83d": 1}, "Unknown request field"),
        ({"settings": {"method": "x" * 5000}}, "Unknown method"),
        ({"id": "../../etc"}, "letters"),
        ({"id": 7}, "letters"),
        ({"id": "mine\n"}, "letters"),
        ({"output": "/tmp/x.png"}, "Unknown request field 'output'"),
    ],
)
def test_bad_fields(client, change, words):
    body = json.dumps(edit(**change))  # which writes half a character as an escape, as an attacker would
    answer = client.post("/dragtext/v1/edits", content=body, headers={"content-type": "application/json"})
    refused(answer, 422, words)
    assert len(answer.json()["detail"]) <= 420
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
        (b"[" * 15_000, "application/json", 400, "not valid JSON"),
        (b"[" * 100_000, "application/json", 422, "too many values"),
        (b"[]", "application/json", 422, "JSON object"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"a=1", "application/x-www-form-urlencoded", 415, "application/json"),
        (b"{}", "", 415, "application/json"),
        (b"nonsense", "multipart/form-data", 400, "form cannot be read"),
        (b"1" * 100_000, "application/json", 400, "too many digits"),
        (b"0." + b"1" * 100_000, "application/json", 400, "too many digits"),
        (b'{"prompt": [' + b"0," * 1_000_000 + b"0]}", "application/json", 422, "too many values"),
        (b"--b\r\n\r\n" * 100_000, "multipart/form-data; boundary=b", 422, "too many fields"),
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
        # Either a path that is no route, or our sentence; a name never opens a file.
        assert answer.json() == {"detail": "Not Found"} or answer.json()["detail"].startswith("There is no edit")
        assert len(answer.text) < 300


@pytest.mark.parametrize(
    "body", [{}, {"v": "1"}, {"v": True}, {"v": None}, {"v": 1, "text": "x"}, {"v": 1e9}, {"w": 1}]
)
def test_points_of_the_way_that_are_none(client, body):
    answer = client.post("/dragtext/v1/edits/nothing/render", json=body)
    assert answer.status_code == 422


def test_what_methods_and_settings_there_are(client):
    assert set(client.get("/dragtext/v1/methods").json()) == set(METHODS)
    described = client.get("/dragtext/v1/settings").json()
    assert described["properties"]["strength"]["maximum"] == 1
    assert client.get("/dragtext/v1/health").json()["host"] == "test"
    document = client.get("/openapi.json").json()
    assert "example" in document["paths"]["/dragtext/v1/edits"]["post"]["requestBody"]["content"]["application/json"]


def test_adding_the_routes_twice_changes_nothing(client):
    before = len(client.app.routes)
    routes.add_routes(client.app, client.jobs)
    assert len(client.app.routes) == before


def test_nothing_large_stops_the_others(client):
    """Ten megabytes of drags are refused at once, and not on the event loop."""
    body = json.dumps({"image": "", "drags": [[[1, 2], [3, 4]]] * 600_000}).encode()
    assert len(body) > 10**7
    start = time.monotonic()
    answer = client.post("/dragtext/v1/edits", content=body, headers={"content-type": "application/json"})
    refused(answer, 422, "too many values")
    assert time.monotonic() - start < 3


def test_parsing_and_decoding_happen_elsewhere(client, monkeypatch):
    threads = []
    for name in ("_parse", "_decode"):
        original = getattr(bodies, name)

        def noted(*arguments, original=original):
            threads.append(threading.current_thread().name)
            return original(*arguments)

        monkeypatch.setattr(bodies, name, noted)
    original_read = queue.read_picture
    monkeypatch.setattr(
        queue, "read_picture", lambda data: threads.append(threading.current_thread().name) or original_read(data)
    )
    assert client.post("/dragtext/v1/edits", json=edit(wait=False)).status_code == 202
    assert len(threads) == 3
    assert all(name.startswith("dragtext-http") for name in threads)


def test_waiting_clients_hold_no_threads(client, host):
    """More clients that wait than there are threads, and others are still answered."""
    host.hold.clear()
    edited = client.post("/dragtext/v1/edits", json=edit(wait=False, id="held")).json()
    assert edited["state"] == "queued"
    with ThreadPoolExecutor(60) as pool:
        waiting = [
            pool.submit(client.post, "/dragtext/v1/edits", json=edit(id=f"w{k}")) for k in range(queue.MAX_WAITING - 1)
        ]
        deadline = time.monotonic() + 60
        while len(client.jobs.all()) < queue.MAX_WAITING and time.monotonic() < deadline:
            time.sleep(0.05)
        start = time.monotonic()
        assert client.get("/dragtext/v1/edits/held/standing").status_code == 200
        assert time.monotonic() - start < 5
        for job in client.jobs.all():
            client.jobs.interrupt(job)
        host.hold.set()
        assert {answer.result(60).json()["state"] for answer in waiting} == {"interrupted"}


PAGE, OTHER = {"x-dragtext": "a" * 32}, {"x-dragtext": "b" * 32}


def test_the_pages_own_routes_know_only_its_own_jobs(client, host):
    root = "/dragtext/internal"
    for headers in ({}, {"x-dragtext": "short"}, {"x-dragtext": "a" * 31 + "/"}):
        refused(client.get(f"{root}/health", headers=headers), 403, "belong to the page")
        refused(client.post(f"{root}/edits", json=edit(), headers=headers), 403, "belong to the page")
    made = client.post(f"{root}/edits", json=edit(), headers=PAGE).json()
    assert made["state"] == "done"
    assert [job["id"] for job in client.get(f"{root}/edits", headers=PAGE).json()] == [made["id"]]
    assert client.get(f"{root}/edits", headers=OTHER).json() == []
    mine = f"{root}/edits/{made['id']}"
    for method, path in (("GET", ""), ("GET", "/image"), ("POST", "/interrupt"), ("DELETE", ""), ("GET", "/standing")):
        refused(client.request(method, mine + path, headers=OTHER), 404, "of this page")
    assert client.get(f"{mine}/image", headers=PAGE).status_code == 200
    assert "gradio" in client.get(f"{root}/report", headers=PAGE).text
    assert not any(path.startswith(root) for path in client.get("/openapi.json").json()["paths"])


def test_the_page_works_without_the_api(host):
    app = fastapi.FastAPI()
    host.has_public_api, host.known = False, Accounts({"me": "secret"}, {})
    app.tokens = {"good": "me"}
    routes.add_routes(app, Jobs(host))
    with testclient.TestClient(app) as client:
        assert client.get("/dragtext/v1/health").status_code == 404
        refused(client.get("/dragtext/internal/health", headers=PAGE), 401, "login")
        client.cookies.update({"access-token": "good"})
        assert client.get("/dragtext/internal/health", headers=PAGE).status_code == 200
        evil = {**PAGE, "origin": "http://evil.example"}
        refused(client.get("/dragtext/internal/health", headers=evil), 403, "another site")


def test_the_pages_scripts(client):
    for name in ("dragtext_page.mjs", "dragtext_http.mjs", "dragtext_follow.mjs"):
        script = client.get(f"/dragtext/internal/javascript/{name}")
        assert script.headers["content-type"].startswith("text/javascript")
        assert "import" in script.text
    for name in ("style.css", "nothing.mjs", "..%2fextension%2fapi.mjs", "%2e%2e"):
        assert client.get(f"/dragtext/internal/javascript/{name}").status_code == 404


@pytest.mark.parametrize(("proxied", "status"), [(True, 200), (False, 403)])
def test_a_proxys_word_counts_where_it_is_configured(client, host, proxied, status):
    host.options["behind_proxy"] = proxied
    headers = {"origin": "https://drag.example", "x-forwarded-host": "drag.example, inner"}
    assert client.get("/dragtext/v1/health", headers=headers).status_code == status


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
