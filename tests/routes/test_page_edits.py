"""What the page asks of edits: their events, what they were made from, and what is on a picture."""

from __future__ import annotations

import asyncio
import base64
import io
import json

import numpy as np
import pytest
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.picture.masks import load_mask, mask_to_uri
from PIL import Image

from ..helpers import encoded
from .conftest import MASK, OTHER, edit, get, in_base64, post, refused, upload

TASK = drag_task(0, "move")
DRAGS = [[list(handle), list(target)] for handle, target in TASK.drags]


@pytest.fixture
def scene(client) -> str:
    return upload(client, encoded(Image.fromarray(TASK.image)))["id"]


def states(text: str) -> list[dict]:
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def test_the_events_of_an_edit_end_with_its_last_state(client):
    made = post(client, "edits", edit(wait=False)).json()
    answer = get(client, f"edits/{made['id']}/events")
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (answer.headers["content-encoding"], answer.headers["cache-control"]) == ("identity", "no-store")
    assert answer.text.startswith("event: state\ndata: ")
    told = states(answer.text)
    assert told[-1]["state"] == "done"
    assert told[-1] == get(client, f"edits/{made['id']}").json()
    refused(get(client, f"edits/{made['id']}/events", OTHER), 404, "of this page")


def test_events_end_when_the_host_goes_down(client, host, monkeypatch):
    following = pytest.importorskip("dragtext.extension.routes.following")
    base = pytest.importorskip("dragtext.extension.routes.base")
    host.hold.clear()
    made = post(client, "edits", edit(wait=False)).json()
    router = base.Routes(client.app, client.jobs, for_page=True)
    streams: set = set()

    async def listen() -> list[str]:
        heard = []
        async for text in following._told(router, client.jobs.get(made["id"]), streams):
            assert len(streams) == 1
            heard.append(text)
            monkeypatch.setattr(type(host), "ending", True)
        return heard

    heard = asyncio.run(asyncio.wait_for(listen(), 5))
    assert len(heard) == 1
    assert states(heard[0])[0]["state"] in ("queued", "running")
    assert not streams
    monkeypatch.undo()
    # A stream that is left in the middle is none any more, either.
    leaving = following._told(router, client.jobs.get(made["id"]), streams)

    async def leave() -> None:
        await leaving.__anext__()
        await leaving.aclose()

    asyncio.run(leave())
    assert not streams


def test_too_many_streams_are_refused(client, monkeypatch):
    monkeypatch.setattr("dragtext.extension.routes.following.MOST_STREAMS", 0)
    made = post(client, "edits", edit(wait=False)).json()
    refused(get(client, f"edits/{made['id']}/events"), 429, "ask for the state")


def test_what_an_edit_was_made_from(client):
    region = mask_to_uri(MASK)
    body = edit(mask=in_base64(Image.fromarray(MASK)), region=region)
    made = post(client, "edits", body).json()
    state = get(client, f"edits/{made['id']}").json()
    client.jobs.pictures._kept.clear()
    document = get(client, f"edits/{made['id']}/document").json()
    assert document["picture"] == {"id": state["picture"], "width": 80, "height": 64}
    assert (document["prompt"], document["drags"], document["v"]) == ("a cat", body["drags"], [1, 1])
    assert (document["mask"], document["region"]) == (mask_to_uri(MASK), region)
    assert document["settings"]["steps"] == 3
    # The picture's id works again.
    again = {"picture": document["picture"]["id"], "drags": document["drags"], "settings": document["settings"]}
    assert post(client, "edits", {**again, "wait": True}).json()["state"] == "done"
    rendered = post(client, f"edits/{made['id']}/render", {"v": 0.5, "wait": False}).json()
    assert get(client, f"edits/{rendered['id']}/document").json()["v"] == [0.5, 0.5]
    refused(get(client, f"edits/{made['id']}/document", OTHER), 404, "of this page")


def test_an_edit_without_a_result_has_no_document(client, host):
    host.hold.clear()
    post(client, "edits", edit(wait=False))
    waiting = post(client, "edits", edit(wait=False)).json()
    assert get(client, f"edits/{waiting['id']}/document").status_code == 200
    post(client, f"edits/{waiting['id']}/interrupt", {})
    refused(get(client, f"edits/{waiting['id']}/document"), 409, "is gone")


def test_a_quick_edit_is_in_no_list(client):
    made = post(client, "edits", edit(quick=True)).json()
    assert (made["state"], made["quick"], made["saved"]) == ("done", True, None)
    assert get(client, "edits").json() == []
    assert get(client, f"edits/{made['id']}/image").status_code == 200
    refused(post(client, "edits", edit(quick="yes")), 422, "true or false")
    # Scripts have none.
    refused(client.post("/dragtext/v1/edits", json=edit(quick=True)), 422, "Unknown request field 'quick'")


def test_an_object_is_picked(client, scene):
    rows, cols = np.nonzero(TASK.before)
    box = [int(cols.min()) - 4, int(rows.min()) - 4, int(cols.max()) + 5, int(rows.max()) + 5]
    found = post(client, f"pictures/{scene}/region", {"box": box}).json()
    region = load_mask(found["region"], TASK.before.shape)
    assert (region & TASK.before).sum() > 0.85 * (region | TASK.before).sum()
    assert Image.open(io.BytesIO(base64.b64decode(found["region"].partition(",")[2]))).mode == "1"
    strokes = {"plus": [{"radius": 4, "points": DRAGS[0][:1]}], "minus": [{"radius": 2, "points": [[3, 3], [9, 9]]}]}
    assert post(client, f"pictures/{scene}/region", {"handles": DRAGS[0][:1], **strokes}).status_code == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Nothing is pointed at"),
        ({"handles": [[500, 5]]}, "outside the image"),
        ({"handles": [[1]]}, "points [x, y]"),
        ({"handles": [["1", 2]]}, "points [x, y]"),
        ({"handles": [[True, 2]]}, "points [x, y]"),
        ({"handles": "x"}, "points [x, y]"),
        ({"handles": [[1e9, 2]]}, "points [x, y]"),
        ({"handles": [[1, 2]] * 101}, "the most is 100"),
        ({"box": [1, 2, 3]}, "left, top, right, bottom"),
        ({"box": [1, 2, 3, None]}, "points [x, y]"),
        ({"plus": 5}, "list of at most"),
        ({"plus": [5]}, "radius"),
        ({"plus": [{"radius": 0, "points": [[1, 2]]}]}, "radius above 0"),
        ({"plus": [{"radius": 3, "points": [[1]]}]}, "points [x, y]"),
        ({"plus": [{"radius": 3}]}, "points [x, y]"),
        ({"minus": [{"radius": 3, "points": [[1, 2]]}]}, "Nothing is pointed at"),
        ({"path": "/etc/passwd"}, "Unknown field"),
    ],
)
def test_what_points_at_nothing(client, scene, body, words):
    refused(post(client, f"pictures/{scene}/region", body), 422, words)


def test_nothing_found_is_a_sentence(client):
    flat = upload(client, encoded(Image.new("RGB", (100, 90), (90, 90, 90))))["id"]
    refused(post(client, f"pictures/{flat}/region", {"handles": [[50, 40]]}), 422, "Nothing here stands out")


def test_the_mask_that_follows(client, scene):
    region = mask_to_uri(TASK.before)
    for drags in (DRAGS, []):
        found = post(client, f"pictures/{scene}/mask", {"drags": drags, "region": region}).json()
        mask = load_mask(found["mask"], TASK.before.shape)
        assert mask[TASK.before].all()
        assert mask[TASK.after].all() or not drags
    refused(post(client, f"pictures/{scene}/mask", {"drags": DRAGS}), 422, "region is a PNG")
    for path in ("/etc/passwd", "data:image/png;base64,aGVsbG8="):
        refused(post(client, f"pictures/{scene}/mask", {"drags": DRAGS, "region": path}), 422, "region")


def test_the_parts_of_a_start(client, scene):
    region = mask_to_uri(TASK.before)
    found = post(client, f"pictures/{scene}/start", {"drags": DRAGS, "region": region, "mask": None}).json()
    assert (found["source"], [move["drags"] for move in found["moves"]]) == ("given", [list(range(len(DRAGS)))])
    assert np.array_equal(load_mask(found["moves"][0]["region"], TASK.before.shape), TASK.before)
    background = Image.open(io.BytesIO(base64.b64decode(found["background"].partition(",")[2])))
    assert (background.format, background.size) == ("JPEG", TASK.image.shape[1::-1])
    there = np.array(background).astype(int)[TASK.before] - TASK.image[TASK.before]
    assert np.abs(there).mean() > 10  # what was there is not there any more
    free = post(client, f"pictures/{scene}/start", {"drags": DRAGS}).json()
    assert free["source"] == "found"
    refused(post(client, f"pictures/{scene}/start", {"drags": []}), 422, "no drags")
    refused(post(client, f"pictures/{scene}/start", {"drags": DRAGS, "region": [region] * 9}), 422, "9 regions")
    refused(post(client, f"pictures/{scene}/start", {"drags": DRAGS, "mask": "/etc/passwd"}), 422, "base64")
    refused(post(client, "pictures/unknown/start", {"drags": DRAGS}), 404, "upload it again")


def test_a_start_on_a_large_picture_answers_at_its_size(client):
    large = upload(client, encoded(Image.fromarray(TASK.image).resize((1536, 1536))))["id"]
    drags = [[[6 * side for side in point] for point in drag] for drag in DRAGS]
    found = post(client, f"pictures/{large}/start", {"drags": drags}).json()
    region = load_mask(found["moves"][0]["region"], (1536, 1536))
    assert region[::6, ::6][TASK.before].mean() > 0.7
    assert max(Image.open(io.BytesIO(base64.b64decode(found["background"].partition(",")[2]))).size) == 1024


# What can be asked for afterwards.


def finished(client, **more) -> str:
    return post(client, "edits", edit(**more)).json()["id"]


def test_a_strip_over_http(client, host):
    made = finished(client)
    strip = post(client, f"edits/{made}/strip", {"v": [0, 0.5, [1, 0]]})
    assert (strip.status_code, strip.json()["kind"], strip.json()["edit"]) == (202, "strip", made)
    path = f"edits/{strip.json()['id']}"
    assert client.jobs.get(strip.json()["id"]).ended.wait(60)
    state = get(client, path).json()
    assert (state["state"], state["frames"], state["values"]) == ("done", 3, [[0, 0], [0.5, 0.5], [1, 0]])
    assert state["text"].startswith("3 pictures")
    for number in range(3):
        frame = get(client, f"{path}/frames/{number}")
        assert frame.headers["content-type"] == "image/jpeg"
        assert Image.open(io.BytesIO(frame.content)).size == (80, 64)
    refused(get(client, f"{path}/frames/3"), 422, "3 frames")
    refused(get(client, f"{path}/frames/x"), 422, "whole number")
    refused(get(client, f"edits/{made}/frames/0"), 422, "belong to a strip")
    refused(get(client, f"{path}/frames/0", OTHER), 404, "of this page")
    refused(get(client, f"{path}/image"), 409, "strip")
    assert [job["kind"] for job in get(client, "edits").json()] == ["edit", "strip"]
    host.hold.clear()
    waiting = post(client, f"edits/{made}/strip", {"v": [0]}).json()["id"]
    refused(get(client, f"edits/{waiting}/frames/0"), 409, "not rendered yet")
    refused(post(client, f"edits/{waiting}/strip", {"v": [0]}), 409, "strip")


@pytest.mark.parametrize(
    "body",
    [{}, {"v": []}, {"v": 1}, {"v": "12"}, {"v": ["1"]}, {"v": [True]}, {"v": [[1]]}, {"v": [[1, 2, 3]]}]
    + [{"v": [1e9]}, {"v": [0] * 65}, {"v": [0], "save": True}, {"v": [[1, "2"]]}, {"v": [None]}],
)
def test_strips_that_are_none(client, body):
    assert post(client, "edits/nothing/strip", body).status_code in (404, 422)
    made = finished(client, settings={**edit()["settings"], "steps": 1})
    refused(post(client, f"edits/{made}/strip", body), 422, "v")


def test_the_curve_of_a_loop(client):
    made = finished(client)
    curve = get(client, f"edits/{made}/curve").json()
    result = client.jobs.get(made).result
    assert [loss for loss in curve["loss"] if loss is not None] == pytest.approx(result.losses)
    assert len(curve["distance"]) == len(curve["loss"]) >= 3
    assert all(left >= 0 for left in curve["distance"])
    refused(get(client, f"edits/{made}/curve", OTHER), 404, "of this page")


@pytest.mark.parametrize("method", ["dragdiffusion", "warp"])
def test_the_way_as_a_gif(client, method):
    settings = {**edit()["settings"], "method": method}
    made = finished(client, settings=settings, region=mask_to_uri(MASK))
    answer = get(client, f"edits/{made}/animation")
    assert answer.headers["content-type"] == "image/gif"
    moving = Image.open(io.BytesIO(answer.content))
    # The instruction, the start's way, previews, and the result; a GIF holds what does not change once, for longer.
    assert (moving.format, moving.size) == ("GIF", (80, 64))
    shots = len(client.jobs.get(made).shots)
    assert shots >= 1
    assert moving.n_frames in range(13, shots + 14) if method == "warp" else range(4, shots + 3)
    moving.seek(moving.n_frames - 1)
    last = np.array(moving.convert("RGB")).astype(int)
    result = np.array(client.jobs.get(made).image.convert("RGB")).astype(int)
    assert np.abs(last - result).mean() < 40  # a GIF has 256 colours, and this is noise
    refused(get(client, f"edits/{made}/animation", params={"format": "exe"}), 422, "gif, mp4")
    refused(get(client, f"edits/{made}/animation", OTHER), 404, "of this page")


def test_the_way_as_an_mp4(client, monkeypatch):
    made = finished(client)
    answer = get(client, f"edits/{made}/animation", params={"format": "mp4"})
    if answer.status_code == 200:
        assert (answer.headers["content-type"], answer.content[4:8]) == ("video/mp4", b"ftyp")
        assert "attachment" in answer.headers["content-disposition"]
    else:
        refused(answer, 422, "no codec")
    monkeypatch.setattr("dragtext.sdk.picture.animation.CODECS", ("nope",))
    refused(get(client, f"edits/{made}/animation", params={"format": "mp4"}), 422, "no codec")


def test_what_has_no_result_has_nothing_of_this(client, host):
    host.hold.clear()
    waiting = post(client, "edits", edit(wait=False)).json()["id"]
    for path in ("animation", "snippet"):
        refused(get(client, f"edits/{waiting}/{path}"), 409, "not finished")
    refused(post(client, f"edits/{waiting}/strip", {"v": [0]}), 409, "not finished")
    assert get(client, f"edits/{waiting}/curve").json() == {"distance": [], "loss": []}
