"""What a picture shows, asked of the host: by the page, in its turn, and by the hosts' own interrogators."""

from __future__ import annotations

import sys
import threading
import time
import types

import pytest
from dragtext.extension.hosts.standalone import Standalone
from dragtext.extension.hosts.webui import WebUI
from dragtext.sdk.errors import ModelError
from dragtext.sdk.evaluation.drawing import draw_scene
from dragtext.sdk.evaluation.scenes import make_scene
from PIL import Image

from ..helpers import encoded
from ..jobs import picture
from .conftest import PAGE, ROOT, refused, upload


def ask(client, way: object = "clip", picture_id: str = "", **more):
    known = picture_id or upload(client, encoded(picture()))["id"]
    return client.post(f"{ROOT}/pictures/{known}/prompt", json={"way": way, **more}, headers=PAGE)


def test_the_page_gets_a_prompt(client, host):
    answer = ask(client)
    assert (answer.status_code, answer.json()) == (200, {"prompt": "a picture of 80 pixels"})
    assert host.events == ["begin", "describe clip", "end"]


def test_what_cannot_be_described_is_a_sentence(client, host):
    def no_model(_picture):
        raise ModelError("There is no model for that.")

    def broken(_picture):
        raise ValueError("odd\nthings")

    refused(ask(client, "deepbooru"), 422, "clip")
    refused(ask(client, 7), 422, "Give way")
    refused(ask(client, more=1), 422, "nothing else")
    refused(ask(client, picture_id="unknown"), 404, "upload it again")
    refused(client.post(f"{ROOT}/pictures/x/prompt", json={"way": "clip"}), 403, "belong to the page")
    assert host.events == []
    for describe, status, words in (
        (no_model, 503, "no model for that"),
        (broken, 500, "ValueError"),
        (lambda _picture: " \n", 503, "write what it shows"),
    ):
        host.on_describe = describe
        refused(ask(client), status, words)
    assert host.events[-1] == "end"


def until(is_so) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_reload_does_not_wait_for_a_description(client, host):
    known = upload(client, encoded(picture()))["id"]
    host.hold.clear()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(ask(client, picture_id=known)))
    asking.start()
    until(lambda: "begin" in host.events)
    client.jobs.close()
    asking.join(20)
    refused(answers[0], 503, "given up")
    host.hold.set()
    until(lambda: "end" in host.events)
    assert host.events == ["begin", "end"]  # and asks no model any more


class TestHosts:
    """The hosts' interrogators, as far as they can be told without them."""

    def install(self, monkeypatch, **modules) -> None:
        package = types.ModuleType("modules")
        monkeypatch.setitem(sys.modules, "modules", package)
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, f"modules.{name}", module)
            monkeypatch.setattr(package, name, module, raising=False)

    def host(self) -> WebUI:
        return type("Host", (WebUI,), {"lend": None, "__abstractmethods__": frozenset()})()

    def test_both_are_asked(self, monkeypatch):
        self.install(
            monkeypatch,
            shared=types.SimpleNamespace(
                interrogator=types.SimpleNamespace(interrogate=lambda image: f"a {image.mode}")
            ),
            deepbooru=types.SimpleNamespace(model=types.SimpleNamespace(tag=lambda image: f"1{image.mode}, solo")),
        )
        host = self.host()
        told = [host.describe(Image.new("RGB", (8, 8)), way) for way in host.describers]
        assert told == ["a RGB", "1RGB, solo"]

    def test_where_one_fails_it_is_said(self, monkeypatch):
        def tag(_image):
            raise OSError("no network")

        self.install(
            monkeypatch,
            shared=types.SimpleNamespace(interrogator=types.SimpleNamespace(interrogate=lambda _image: "a <error>")),
            deepbooru=types.SimpleNamespace(model=types.SimpleNamespace(tag=tag)),
        )
        for way, words in (("clip", "log says why"), ("deepbooru", "OSError: no network")):
            with pytest.raises(ModelError, match=words):
                self.host().describe(Image.new("RGB", (8, 8)), way)

    def test_a_load_that_failed_is_done_again(self, monkeypatch):
        """As both hosts do it: the network is kept before there are weights for it."""
        files: list[list[str]] = []

        class Tagger:
            model = None

            def tag(self, _image):
                if self.model is None:
                    self.model = types.SimpleNamespace(tags=[])
                    self.model.tags = files[0]
                return ", ".join(self.model.tags)

        tagger = Tagger()
        self.install(monkeypatch, deepbooru=types.SimpleNamespace(model=tagger))
        for _ in range(2):
            with pytest.raises(ModelError, match="could not be loaded"):
                self.host().describe(Image.new("RGB", (8, 8)), "deepbooru")
        files.append(["1cat", "solo"])
        tagger.model = types.SimpleNamespace(tags=[])  # the host's own button failed before
        assert self.host().describe(Image.new("RGB", (8, 8)), "deepbooru") == "1cat, solo"
        assert tagger.model.tags


def test_standalone_knows_its_own_toys(tmp_path):
    host = Standalone(output=tmp_path)
    scene = make_scene(0, count=1)
    (toy,) = scene.toys
    assert host.describe(Image.fromarray(draw_scene(scene)), "toys") == f"{toy.colour} {toy.figure}"
    with pytest.raises(ModelError, match="knows nothing else"):
        host.describe(Image.new("RGB", (300, 200), "white"), "toys")
    assert Standalone("mine.safetensors", output=tmp_path).describers == ()
