"""`dragtext ui` as a real server in a process of its own, on the embedded model, under the installed gradio."""

from __future__ import annotations

import base64
import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, make_scene, render
from PIL import Image

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")
httpx = pytest.importorskip("httpx")

START = 180
EDIT = 240
DRAGS = [[[100, 120], [140, 120]]]
SETTINGS = {"steps": 6, "inference_steps": 10, "lora_steps": 2, "lora_batch": 1}


def scene(seed: int) -> str:
    buffer = io.BytesIO()
    Image.fromarray(render(make_scene(FIRST_EVALUATION_SEED + seed))).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(folder, *arguments: str):
    """A running `dragtext ui`, ended with Ctrl-C; yields a client."""
    port = free_port()
    command = [sys.executable, "-c", "from dragtext.extension.command import main; main()", "ui", "--port", str(port)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DRAGTEXT_CACHE_DIR": str(folder / "cache")}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "-o", str(folder / "out"), *arguments],
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=EDIT, trust_env=False) as client:
                begin = time.time()
                while True:
                    try:
                        client.get("/", timeout=10)
                        break
                    except httpx.HTTPError:
                        assert process.poll() is None, (folder / "log").read_text()
                        assert time.time() - begin < START, (folder / "log").read_text()
                        time.sleep(0.3)
                # The page may answer a moment before the routes are there.
                while client.get("/dragtext/v1/health").status_code == 404 and "--api" in arguments:
                    time.sleep(0.1)
                yield client
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        log.seek(0)
        assert "Traceback" not in log.read()


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    with server(folder, "--api", "--option", "preview_every=2") as client:
        client.folder = folder
        yield client


def create(client, **more) -> dict:
    body = {"image": scene(0), "prompt": "a red circle", "drags": DRAGS, "settings": SETTINGS, **more}
    answer = client.post("/dragtext/v1/edits", json=body)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def test_the_page_is_there(client):
    page = client.get("/")
    assert page.status_code == 200
    for name in ("dragtext_drag", "dragtext_interrupt", "dragtext_points", "dragtext_setting_lora_steps"):
        assert name in page.text


def test_an_edit_with_progress_and_preview(client):
    job = create(client)
    phases, steps = set(), set()
    while job["state"] in ("queued", "running"):
        job = client.get(f"/dragtext/v1/edits/{job['id']}", params={"seen": "0"}).json()
        phases.add(job["phase"])
        if job["phase"] == "dragging":
            steps.add(job["step"])
            assert 0 < job["distance"] < 60
        time.sleep(0.05)
    assert job["state"] == "done", job
    assert "dragging" in phases
    assert len(steps) >= 2
    assert Image.open(io.BytesIO(base64.b64decode(job["preview"]))).size == (256, 256)
    saved = list((client.folder / "out").rglob(job["saved"]))
    assert len(saved) == 1
    result = client.get(f"/dragtext/v1/edits/{job['id']}/result").json()
    assert Image.open(saved[0]).info["parameters"] == result["infotext"]
    assert result["report"]["steps"] == 6


def test_an_interrupt_keeps_the_best_so_far(client):
    job = create(
        client, settings={**SETTINGS, "steps": 500, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
    )
    while True:
        job = client.get(f"/dragtext/v1/edits/{job['id']}").json()
        if job["state"] != "running" and job["state"] != "queued":
            pytest.fail(f"ended before it was stopped: {job}")
        if job["phase"] == "dragging" and job["step"] >= 2:
            break
        time.sleep(0.05)
    client.post(f"/dragtext/v1/edits/{job['id']}/interrupt")
    while job["state"] == "running":
        job = client.get(f"/dragtext/v1/edits/{job['id']}").json()
        time.sleep(0.1)
    report = client.get(f"/dragtext/v1/edits/{job['id']}/result").json()["report"]
    assert report["stopped"] == "interrupted"
    assert 2 <= report["steps"] < 500


def test_two_clients_at_once_each_get_their_own(client):
    outcomes: dict[int, bytes] = {}

    def work(seed: int) -> None:
        job = create(client, image=scene(seed), wait=True)
        assert job["state"] == "done", job
        outcomes[seed] = client.get(f"/dragtext/v1/edits/{job['id']}/image").content

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(EDIT)
    assert set(outcomes) == {1, 2}
    assert outcomes[1] != outcomes[2]


def test_the_second_drag_on_a_picture_starts_at_once(client):
    first = create(client, image=scene(3), wait=True)
    again = create(client, image=scene(3), wait=True)
    seconds = [
        client.get(f"/dragtext/v1/edits/{job['id']}/result").json()["report"]["seconds"] for job in (first, again)
    ]
    assert seconds[1]["identity"] + seconds[1]["invert"] + seconds[1]["encode"] < 0.1
    assert seconds[0]["invert"] > 0.1


def test_our_routes_are_on_the_openapi_page(client):
    assert client.get("/docs").status_code == 200
    assert "/dragtext/v1/edits" in client.get("/openapi.json").json()["paths"]


def test_without_the_flag_there_is_no_api(tmp_path):
    with server(tmp_path) as client:
        assert client.get("/").status_code == 200
        assert client.get("/dragtext/v1/health").status_code == 404
        assert client.post("/dragtext/v1/edits", json={}).status_code in (404, 405)


def test_the_pages_login_and_the_apis_own(tmp_path):
    with server(tmp_path, "--api", "--auth", "me:secret", "--api-auth", "script:other") as client:
        health = "/dragtext/v1/health"
        assert client.get(health).status_code == 401
        assert client.get(health, auth=("script", "wrong")).status_code == 401
        assert client.get(health, auth=("script", "other")).status_code == 200
        assert client.post("/login", data={"username": "me", "password": "secret"}).status_code == 200
        assert client.get(health).status_code == 200  # the cookie of the page
        client.cookies.clear()
        assert client.get(health).status_code == 401


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "1"], "another with --port"),
        (["--auth", "nobody"], "NAME:PASSWORD"),
        (["--option", "colour=red"], "NAME=VALUE"),
        (["--option", "preview_every=often"], "whole number"),
    ],
)
def test_bad_arguments(tmp_path, arguments, words):
    if arguments == ["--port", "1"]:
        blocker = socket.socket()
        blocker.bind(("127.0.0.1", 0))
        blocker.listen()
        arguments = ["--port", str(blocker.getsockname()[1])]
    command = [sys.executable, "-c", "from dragtext.extension.command import main; main()", "ui", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=START)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
