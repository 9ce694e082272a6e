"""`dragtext ui` as a real server in a process of its own, on the embedded model, under the installed gradio."""

from __future__ import annotations

import base64
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
from PIL import Image

from ..helpers import scene

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")
httpx = pytest.importorskip("httpx")

START = 180
EDIT = 240
DRAGS = [[[100, 120], [140, 120]]]
# A loop from the picture as it is, which takes its time; the model's own settings would begin at the end.
SETTINGS = {"start": "none", "steps": 6, "inference_steps": 10, "lora_steps": 2, "lora_batch": 1}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def server(folder, *arguments: str):
    """A running `dragtext ui`, ended with Ctrl-C; yields a client."""
    port = free_port()
    command = [sys.executable, "-c", "from dragtext.extension.command import main; main()", "ui", "--port", str(port)]
    folders = {"DRAGTEXT_CACHE_DIR": str(folder / "cache"), "DRAGTEXT_CONFIG_DIR": str(folder / "config")}
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **folders}
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
                client.process, client.folder = process, folder
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
                routes = ["internal/javascript/dragtext_page.mjs", *(["v1/health"] if "--api" in arguments else [])]
                while any(client.get(f"/dragtext/{route}").status_code == 404 for route in routes):
                    time.sleep(0.1)
                yield client
        finally:
            if process.poll() is None:
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
        yield client


def create(client, **more) -> dict:
    body = {"image": scene(0), "prompt": "a red circle", "drags": DRAGS, "settings": SETTINGS, **more}
    answer = client.post("/dragtext/v1/edits", json=body)
    assert answer.status_code in (200, 202), answer.text
    return answer.json()


def test_the_page_is_there(client):
    page = client.get("/")
    assert page.status_code == 200
    for name in ("dragtext_drag", "dragtext_interrupt", "dragtext_stage", "dragtext_setting_lora_steps"):
        assert name in page.text
    # Nothing is asked of other servers: neither by the page, nor where a part of it would like to.
    loaded = re.findall(r"(?:src|href)=\"(https?://[^\"]+)", page.text)
    assert [address for address in loaded if "127.0.0.1" not in address] == []
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http:" not in policy.replace("'self'", "")


def test_gradios_file_route_hands_out_nothing_of_ours(client):
    (client.folder / "secret.txt").write_text("secret")
    for path in (
        "/file=secret.txt",
        f"/file={client.folder}/secret.txt",
        "/file/secret.txt",
        "/file=log",
        "/file=%2e%2e/secret.txt",
        "/file=https://example.com/x.png",
        "/file%3Dsecret.txt",
    ):
        answer = client.get(path, follow_redirects=False)
        assert answer.status_code in (403, 404), (path, answer.status_code)
        assert "secret" not in answer.text.replace("secret.txt", "")


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("[::1]:{port}", 200),
        ("192.168.1.20:{port}", 200),
        ("evil.example:{port}", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("", 403),
    ],
)
def test_another_name_is_not_answered(client, name, status):
    answer = client.get("/dragtext/v1/health", headers={"host": name.format(port=client.base_url.port)})
    assert answer.status_code == status
    # Who says so behind no proxy says it for nothing.
    forwarded = {"host": "evil.example", "x-forwarded-host": "localhost"}
    assert client.get("/", headers=forwarded).status_code == 403


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


def test_our_routes_are_described(client):
    paths = client.get("/openapi.json").json()["paths"]
    assert "/dragtext/v1/edits" in paths
    assert not any("internal" in path for path in paths)
    assert client.get("/docs").status_code == 404  # FastAPI's page of this name loads its script from elsewhere


def test_without_the_flag_there_is_no_api_but_the_pages_routes(tmp_path):
    arguments = ("--host", "0.0.0.0", "--allow-host", "drag.example", "--option", "behind_proxy=true")
    with server(tmp_path, *arguments) as client:
        assert client.get("/").status_code == 200
        assert client.get("/dragtext/v1/health").status_code == 404
        assert client.post("/dragtext/v1/edits", json={}).status_code in (404, 405)
        assert client.get("/dragtext/internal/health").status_code == 403
        assert client.get("/dragtext/internal/health", headers={"x-dragtext": "a" * 32}).status_code == 200
        for headers, status in (
            ({"host": "drag.example"}, 200),
            ({"host": socket.gethostname()}, 200),
            ({"host": "inner", "x-forwarded-host": "drag.example"}, 200),
            ({"host": "inner"}, 403),
        ):
            assert client.get("/", headers=headers).status_code == status
        assert "everybody who can reach 0.0.0.0" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ending_with_an_edit_running(tmp_path, number, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    long = {**SETTINGS, "steps": 500, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
    with server(tmp_path, "--api") as client:
        job = create(client, settings=long)
        waiting = create(client, settings=long)
        while not (job["phase"] == "dragging" and job["step"] >= 2):
            job = client.get(f"/dragtext/v1/edits/{job['id']}").json()
            time.sleep(0.1)
        with open_connections(client, f"/dragtext/v1/edits/{waiting['id']}"):
            client.process.send_signal(number)
            assert client.process.wait(60) in (0, 130)
        assert len(list((tmp_path / "out").rglob("*.png"))) == 1  # the best so far
    log = (tmp_path / "log").read_text()
    assert "Ending; a running edit" in log
    for word in ("Traceback", "Abort", "terminate called", "Fatal"):
        assert word not in log
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name.startswith(("gradio", "dragtext"))] == []


@contextmanager
def open_connections(client, path):
    """Connections that are open, as pages leave them: one idle, one in the middle of a request, one that listens."""
    address = ("127.0.0.1", client.base_url.port)
    sockets = [socket.create_connection(address) for _ in range(2)]
    sockets[1].sendall(b"POST /dragtext/v1/edits HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx")
    client.get(path)
    try:
        yield
    finally:
        for open_socket in sockets:
            open_socket.close()


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
