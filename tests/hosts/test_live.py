"""Against a WebUI that runs: DRAGTEXT_WEBUI_URL names it (http://127.0.0.1:7860), started with --api and a checkpoint.

A generation before and after each edit must be the same to the byte. Any Stable Diffusion 1.x, 2.x or SDXL checkpoint
will do, for example what `dragtext export-model` writes, or checkpoints.py for SDXL (in Forge small models need a test
extension; for SDXL that is the folder `small`). The tests of other extensions' leftovers and of the numbers want the
folder `leaver` among the WebUI's extensions, too.
"""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image

URL = os.environ.get("DRAGTEXT_WEBUI_URL", "")
pytestmark = pytest.mark.skipif(not URL, reason="DRAGTEXT_WEBUI_URL names no running WebUI")
httpx = pytest.importorskip("httpx")

SETTINGS = {"steps": 6, "inference_steps": 10, "lora_steps": 2, "lora_batch": 1}
LONG = {**SETTINGS, "steps": 500, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
FINAL = ("done", "failed", "interrupted")


@pytest.fixture(scope="module")
def client():
    with httpx.Client(base_url=URL, timeout=1200, trust_env=False) as client:
        yield client


def picture() -> str:
    array = np.full((256, 256, 3), 128, np.uint8)
    array[60:140, 80:160] = np.random.default_rng(0).integers(0, 255, (80, 80, 3))
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def generation(client) -> bytes:
    body = {"prompt": "a cat", "seed": 1, "steps": 4, "width": 256, "height": 256, "sampler_name": "Euler"}
    answer = client.post("/sdapi/v1/txt2img", json=body)
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["images"][0])


def create(client, **more) -> dict:
    drags = [[[120, 100], [150, 100]]]
    body = {"image": picture(), "prompt": "a cat", "drags": drags, "settings": SETTINGS, "wait": True, **more}
    answer = client.post("/dragtext/v1/edits", json=body)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def state(client, job: dict) -> dict:
    return client.get(f"/dragtext/v1/edits/{job['id']}").json()


def until_dragging(client, job: dict, step: int = 2) -> dict:
    while not (job["phase"] == "dragging" and job["step"] >= step):
        assert job["state"] not in FINAL, job
        time.sleep(0.2)
        job = state(client, job)
    return job


def until_final(client, job: dict) -> dict:
    while job["state"] not in FINAL:
        time.sleep(0.2)
        job = state(client, job)
    return job


def press_reload_ui(client) -> None:
    """What the button in Settings does."""
    config = client.get("/config").json()
    button = next(c["id"] for c in config["components"] if c["props"].get("elem_id") == "settings_restart_gradio")
    for index, event in enumerate(config["dependencies"]):
        if button in [target[0] if isinstance(target, list) else target for target in event["targets"]]:
            body = {"fn_index": event.get("id", index), "data": [], "session_hash": "dragtext"}
            answer = client.post("/run/predict", json=body)
            assert answer.status_code == 200, answer.text
            return
    pytest.fail("There is no Reload UI button.")


def listens() -> bool:
    """Somebody takes connections at the WebUI's address. Asks nothing."""
    address = httpx.URL(URL)
    try:
        socket.create_connection((address.host, address.port or 80), timeout=5).close()
    except OSError:
        return False
    return True


def reload_ui(client, job: dict) -> float:
    """Seconds until page and API are there again, with a new queue, which does not know the job.

    A1111 with --api ends ("Cannot add middleware after an application has started") where a request comes between
    the opening of its port and the adding of its API. On a busy machine that is a while, so it gets a moment's peace.
    """
    started = time.monotonic()
    press_reload_ui(client)
    while listens():
        time.sleep(0.05)
    while not listens():
        assert time.monotonic() - started < 600, "The WebUI does not come back."
        time.sleep(0.2)
    time.sleep(2)
    pages = {"/dragtext/v1/health": 200, f"/dragtext/v1/edits/{job['id']}": 404, "/": 200}  # the heavy one last
    while True:
        try:
            if all(client.get(page).status_code == status for page, status in pages.items()):
                return time.monotonic() - started
        except httpx.TransportError:
            pass
        time.sleep(0.1)


@pytest.mark.parametrize("method", ["gooddrag", "dragdiffusion", "freedrag", "dragnoise"])
def test_an_edit_leaves_the_host_as_it_was(client, method):
    before = generation(client)
    job = create(client, settings={**SETTINGS, "method": method})
    assert job["state"] == "done", job
    result = client.get(f"/dragtext/v1/edits/{job['id']}/result").json()
    image = Image.open(io.BytesIO(base64.b64decode(result["image"])))
    assert (image.size, image.mode) == ((256, 256), "RGB")
    assert result["infotext"].startswith("a cat\nSteps: ")
    assert job["saved"]
    assert generation(client) == before


def test_the_hosts_own_interrupt_keeps_the_best_so_far_and_leaves_no_trace(client):
    before = generation(client)
    job = until_dragging(client, create(client, settings=LONG, wait=False))
    progress = client.get("/sdapi/v1/progress").json()
    assert progress["state"]["sampling_steps"] == 500
    client.post("/sdapi/v1/interrupt")
    until_final(client, job)
    report = client.get(f"/dragtext/v1/edits/{job['id']}/result").json()["report"]
    assert report["stopped"] == "interrupted"
    assert generation(client) == before


def test_an_edit_that_fails_leaves_no_trace(client):
    before = generation(client)
    job = create(client, prompt="a cat <lora:there is none of this name:1>")
    assert job["state"] == "failed"
    assert "cannot be loaded" in job["error"]["message"]
    assert generation(client) == before


def test_an_edit_does_not_see_what_another_extension_left_on_the_model(client):
    clean, expected = generation(client), edited(client)
    answer = client.post("/dragtext-leaver/leave")
    if answer.status_code != 200:
        pytest.skip("the extension in the folder leaver is not among the WebUI's")
    try:
        controlled = generation(client)
        assert controlled != clean
        assert np.array_equal(edited(client), expected)
        assert generation(client) == controlled  # put back
    finally:
        found = client.post("/dragtext-leaver/clear").json()["found"]
    assert found == answer.json()["left"]
    assert generation(client) == clean


def edited(client) -> np.ndarray:
    job = create(client, settings={**SETTINGS, "lora_steps": 0})
    assert job["state"] == "done", job
    answer = client.get(f"/dragtext/v1/edits/{job['id']}/image")
    return np.array(Image.open(io.BytesIO(answer.content)))


def test_reload_ui_during_an_edit_comes_back_and_edits_go_on(client):
    before = generation(client)
    idle = reload_ui(client, create(client))
    running = until_dragging(client, create(client, settings=LONG, wait=False))
    create(client, settings=LONG, wait=False)
    answers = []

    def wait():
        with httpx.Client(base_url=URL, timeout=60, trust_env=False) as other:
            answers.append(create(other, settings=LONG))

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(1)
    took = reload_ui(client, running)
    print(f"Reload UI took {took:.1f} s during an edit, {idle:.1f} s without one")
    assert took < max(30, 2 * idle)
    waiting.join(1)
    assert answers
    assert create(client)["state"] == "done"
    assert generation(client) == before


def test_a_generation_waits_for_an_edit(client):
    job = create(client, wait=False)
    generation(client)
    assert state(client, job)["state"] == "done"


def test_what_the_host_saved_reads_back_as_the_same_edit(client):
    job = create(client)
    answer = client.get(f"/dragtext/v1/edits/{job['id']}/image")
    info = client.post("/sdapi/v1/png-info", json={"image": base64.b64encode(answer.content).decode()}).json()
    assert info["parameters"]["DragText method"] == "gooddrag"
    assert info["parameters"]["DragText drags"] == "120,100 -> 150,100"
    assert info["parameters"]["Prompt"] == "a cat"
    # Nothing in it may switch a host's own features on, as a denoising strength does with Hires. fix.
    assert "Denoising strength" not in info["parameters"]
    # The whole request lies in the file.
    assert json.loads(Image.open(io.BytesIO(answer.content)).text["dragtext"])["drags"] == [[[120, 100], [150, 100]]]


def test_bad_input_is_one_sentence(client):
    body = {"image": picture(), "drags": [[[120, 100], [900, 100]]], "settings": SETTINGS}
    answer = client.post("/dragtext/v1/edits", json=body)
    assert answer.status_code == 422
    assert "outside the image" in answer.json()["detail"]
    assert client.post("/dragtext/v1/edits", json=body, headers={"origin": "http://evil.example"}).status_code == 403
