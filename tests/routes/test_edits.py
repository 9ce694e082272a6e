"""Edits over HTTP from first to last."""

from __future__ import annotations

import base64
import io
import json
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dragtext.extension import queue
from PIL import Image

from ..helpers import encoded
from ..jobs import picture
from .conftest import SETTINGS, edit, refused


def test_an_edit_from_first_to_last(client):
    job = client.post("/dragtext/v1/edits", json=edit(id="mine"))
    assert job.status_code == 200, job.text
    state = job.json()
    assert (state["id"], state["state"], state["error"], state["saved"]) == ("mine", "done", None, "saved.png")
    assert (state["outcome"]["ended"], state["outcome"]["steps"]) == ("steps", SETTINGS["steps"])
    assert state["text"].startswith(f"All steps were used: {state['outcome']['left']:.0f} px left")
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
