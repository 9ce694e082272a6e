"""Examples, files of requests, presets and what suits a model, over HTTP."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from dragtext.extension import room
from dragtext.extension.hosts.standalone import Standalone
from dragtext.sdk.picture.files import METADATA_KEY
from dragtext.sdk.picture.masks import mask_to_uri
from PIL import Image

from ..helpers import encoded
from ..jobs import picture
from .conftest import MASK, PAGE, ROOT, edit, get, in_base64, post, refused, upload

DRAGS = [[[20, 30], [50, 30]]]


def send(client, data: bytes, kind: str = "application/octet-stream"):
    return client.post(f"{ROOT}/requests", content=data, headers={**PAGE, "content-type": kind})


def test_examples_are_pictures_that_carry_their_requests(client):
    known = get(client, "examples").json()
    assert [set(one) for one in known] == [{"name", "title", "prompt"}] * 4
    for one in known:
        file = get(client, f"examples/{one['name']}")
        assert file.headers["content-type"] == "image/png"
        kind = {**PAGE, "content-type": "image/png"}
        opened = client.post(f"{ROOT}/pictures", content=file.content, headers=kind).json()
        assert (opened["prompt"], opened["note"]) == (one["prompt"], "")
        assert opened["request"]["mask"].startswith("data:image/png")
    refused(get(client, "examples/nothing"), 404, "no such example")
    assert client.get("/dragtext/v1/examples").status_code == 404


@pytest.mark.parametrize("kind", ["pickle", "points", "ours", "png"])
def test_requests_are_read_from_files(client, kind):
    ours = {"prompt": "a cat", "drags": DRAGS, "mask": mask_to_uri(MASK), "settings": {"steps": 3}}
    buffer = io.BytesIO()
    if kind == "png":
        from PIL.PngImagePlugin import PngInfo

        information = PngInfo()
        information.add_itxt(METADATA_KEY, json.dumps(ours))
        picture().save(buffer, "PNG", pnginfo=information)
    data = {
        "pickle": pickle.dumps({"prompt": "a cat", "points": [[20, 30], [50, 30]], "mask": MASK.astype(np.uint8)}),
        "points": json.dumps({"points": [[20, 30], [50, 30]]}).encode(),
        "ours": json.dumps(ours).encode(),
        "png": buffer.getvalue(),
    }[kind]
    for media in ("application/octet-stream", "application/json" if kind != "png" else "image/png"):
        answer = send(client, data, media)
        assert answer.status_code == 200, answer.text
        request = answer.json()["request"]
        assert request["drags"] == DRAGS
        assert (request["prompt"] == "a cat") == (kind != "points")
        assert (request["mask"] is not None) == (kind != "points")


def test_of_several_requests_the_first_is_taken_and_that_is_said(client):
    lines = "\n".join(json.dumps({"drags": [[[k, 2], [30, 40]]], "mask": "m.png"}) for k in (5, 6))
    found = send(client, lines.encode()).json()
    assert (found["request"]["drags"][0][0], found["request"]["mask"]) == ([5, 2], None)
    assert "holds 2 requests" in found["note"]
    assert "file of its own" in found["note"]


@pytest.mark.parametrize(
    ("data", "status", "words"),
    [
        (b"", 422, "empty"),
        (b"{", 422, "not valid JSON"),
        (b"[" * 100_000, 422, "nested too deeply"),
        (b"\xff\xd8\xff\xe0", 422, "JPEG picture"),
        (pickle.dumps(print), 422, "only arrays"),
        (b"\x80", 422, "damaged"),
        (b"{}", 422, "holds no drags"),
        (json.dumps({"prompt": "a cat", "settings": {"steps": 3}}).encode(), 422, "holds no drags"),
        (json.dumps({"drags": DRAGS * 101}).encode(), 422, "the most is 100"),
        (json.dumps({"drags": DRAGS, "prompt": "x" * 10_001}).encode(), 422, "characters"),
        (json.dumps({"drags": DRAGS, "settings": {"x": 1}}).encode(), 422, "Unknown setting"),
    ],
)
def test_files_that_are_no_requests(client, data, status, words):
    refused(send(client, data), status, words)


def test_files_that_are_too_large_or_of_another_kind(client, monkeypatch):
    monkeypatch.setattr("dragtext.extension.exchange.MAX_REQUEST_FILE", 10)
    refused(send(client, b" " * 11), 422, "larger than")
    refused(send(client, b"x", "text/html"), 415, "file itself")


def test_requests_are_written_as_benchmarks_have_them(client):
    known = upload(client, encoded(picture()))["id"]
    body = {"picture": known, "prompt": "a cat", "drags": DRAGS, "mask": mask_to_uri(MASK), "settings": {"steps": 3}}
    ours = post(client, "export", {**body, "format": "request"})
    assert ours.headers["content-disposition"] == 'attachment; filename="dragtext-request.json"'
    assert send(client, ours.content).json()["request"]["settings"]["steps"] == 3
    for kind, ending in (("dragbench", ".pkl"), ("drag100", ".json")):
        answer = post(client, "export", {**body, "format": kind})
        assert answer.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(ending))
            assert send(client, archive.read(name)).json()["request"]["drags"] == DRAGS
    plain = {**body, "mask": in_base64(Image.fromarray(MASK)), "format": "drag100"}
    assert post(client, "export", plain).status_code == 200
    for change, status, words in (
        ({"format": "exe"}, 422, "format is one of"),
        ({"picture": 5}, 422, "id of an uploaded"),
        ({"picture": "x"}, 404, "upload it again"),
        ({"drags": []}, 422, "no drags"),
        ({"drags": [[[20, 30], [500, 30]]]}, 422, "outside the image"),
        ({"mask": "/etc/passwd"}, 422, "base64"),
        ({"mask": mask_to_uri(MASK[:50])}, 422, "same size"),
        ({"path": "x"}, 422, "Unknown request field"),
    ):
        refused(post(client, "export", {**body, "format": "dragbench", **change}), status, words)


@pytest.fixture
def own_presets(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGTEXT_CONFIG_DIR", str(tmp_path))


@pytest.mark.usefixtures("own_presets")
def test_presets_over_http(client):
    assert get(client, "presets").json() == {}
    path = f"{ROOT}/presets/ears%20up"
    assert client.put(path, json={"settings": {"steps": 5}}, headers=PAGE).json() == {"ears up": {"steps": 5}}
    refused(client.put(path, json={"settings": {"stepz": 5}}, headers=PAGE), 422, "Unknown setting")
    refused(client.put(path, json={"steps": 5}, headers=PAGE), 422, "nothing else")
    refused(client.put(path, content=b"{}", headers=PAGE), 415, "JSON")
    refused(client.put(path, json={"settings": {}}), 403, "belong to the page")
    assert get(client, "presets").json() == {"ears up": {"steps": 5}}
    assert client.delete(path, headers=PAGE).json() == {}
    refused(client.delete(path, headers=PAGE), 404, "no preset ears up")
    assert client.get("/dragtext/v1/presets").status_code == 404


def test_what_suits_the_model_and_the_drags(client, host, monkeypatch):
    assert get(client, "recommended").json() == {}
    suited = {"default": {"method": "warp"}, "rotate": {"strength": 0.8}}
    monkeypatch.setattr(type(host), "recommended", lambda _host: suited)
    assert get(client, "recommended").json() == {"method": "warp"}
    turned = json.dumps([[[10, 10], [10, 40]], [[40, 40], [40, 10]]])
    assert get(client, "recommended", params={"drags": turned}).json() == {"method": "warp", "strength": 0.8}
    for drags in ("x", "[[", "5", "[" * 5000, "1" * 20_001, json.dumps(DRAGS * 101)):
        assert get(client, "recommended", params={"drags": drags}).status_code == 422


def test_the_embedded_models_own_settings_are_known_before_it_is_loaded(tmp_path):
    assert Standalone(output=tmp_path).recommended()["default"]["method"] == "warp"


def test_what_an_edit_will_take(client, monkeypatch):
    known = upload(client, encoded(picture()))["id"]
    body = {"picture": known, "settings": edit()["settings"]}
    nothing = {"seconds": None, "memory_mb": None, "need_mb": None, "room_mb": None, "means": {}, "fits": True}
    assert post(client, "expectation", body).json() == nothing
    made = {"picture": known, "drags": DRAGS, "settings": edit()["settings"], "wait": True}
    assert post(client, "edits", made).json()["state"] == "done"
    told = post(client, "expectation", body).json()
    assert told["seconds"] > 0
    assert told["memory_mb"] > 0
    assert told["need_mb"] > 0
    monkeypatch.setattr(room, "free_memory", lambda _device: 0)
    scarce = post(client, "expectation", body).json()
    assert scarce["need_mb"] > scarce["room_mb"] > 0
    assert not scarce["fits"]  # nothing helps with what takes most here, the decoding
    lean = post(client, "expectation", {**body, "settings": {**body["settings"], "memory": "lean"}}).json()
    assert lean["means"] == {"again": True, "tiles": True}
    monkeypatch.undo()
    told = post(client, "expectation", body).json()
    assert told["fits"]
    del told["room_mb"]
    assert post(client, "edits", {**made, "quick": True}).json()["state"] == "done"
    assert post(client, "expectation", body).json().items() >= told.items()  # a quick edit teaches nothing
    refused(post(client, "expectation", {"picture": known}), 422, "settings")
    refused(post(client, "expectation", {**body, "picture": "x"}), 404, "upload it again")
    refused(post(client, "expectation", {**body, "settings": {"stepz": 1}}), 422, "Unknown setting")


def test_an_example_can_be_dragged_as_it_is(client):
    (first, *_) = get(client, "examples").json()
    file = get(client, f"examples/{first['name']}").content
    kind = {**PAGE, "content-type": "image/png"}
    opened = client.post(f"{ROOT}/pictures", content=file, headers=kind).json()
    request = {**opened["request"], "settings": edit()["settings"], "picture": opened["id"], "wait": True}
    assert post(client, "edits", request).json()["state"] == "done"
