"""Nothing strange that is sent breaks a route or holds up the others."""

from __future__ import annotations

import json
import threading
import time

import pytest
from dragtext.extension import queue
from PIL import Image

from .conftest import edit, in_base64, refused

bodies = pytest.importorskip("dragtext.extension.bodies")


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
