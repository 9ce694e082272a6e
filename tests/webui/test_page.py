"""The tab in a real browser, as a person uses it, against `dragtext ui` under the installed gradio.

Skipped where there is no Chromium: DRAGTEXT_CHROMIUM names one, else it is looked for on the path.
"""

from __future__ import annotations

import base64
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from .test_standalone import SETTINGS, scene, server

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")

LINE = "100,120 -> 140,120"
LONG = {**SETTINGS, "steps": 400, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
WAIT = 120_000  # milliseconds


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    options = ("--option", "preview_every=2", "--option", "default_settings=start=none")
    with server(tmp_path_factory.mktemp("page"), *options) as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


class Person:
    """One browser tab, and what it asked and complained about."""

    def __init__(self, context, address: str) -> None:
        self.page = context.new_page()
        self.asked, self.faults = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda message: message.type == "error" and self.faults.append(message.text))
        self.page.goto(address)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#dragtext_drag", timeout=WAIT)
        self.page.wait_for_function("() => window.dragtext", timeout=WAIT)

    def fill(self, name: str, value: object) -> None:
        box = self.page.locator(f"#dragtext_{name} textarea, #dragtext_{name} input").first
        if not box.is_visible():
            self.page.get_by_text("More settings").first.click()
        box.fill(str(value))

    def prepare(self, folder, seed: int = 0, **settings) -> None:
        path = folder / f"scene{seed}.png"
        path.write_bytes(base64.b64decode(scene(seed)))
        self.page.set_input_files("#dragtext_picture input[type=file]", str(path))
        self.page.wait_for_selector("#dragtext_picture img", timeout=WAIT)
        self.fill("prompt", "a red circle")
        self.fill("points", LINE)
        for name, value in {**SETTINGS, **settings}.items():
            if name == "start":  # a list, which the page begins with as it shall be
                continue
            self.fill(f"setting_{name}", value)

    def press(self, name: str) -> None:
        self.page.locator(f"#dragtext_{name}").click()

    def says(self, words: str) -> str:
        self.page.wait_for_function(
            "(words) => document.querySelector('#dragtext_status p')?.textContent.includes(words)",
            arg=words,
            timeout=WAIT,
        )
        return self.page.locator("#dragtext_status p").inner_text()

    def result(self, but: str = "") -> str:
        """The address of the picture in the result box."""
        self.page.wait_for_function(
            "(but) => { const found = document.querySelector('#dragtext_result img');"
            " return found && found.src && found.src !== but && found.complete && found.naturalWidth }",
            arg=but,
            timeout=WAIT,
        )
        return self.page.locator("#dragtext_result img").first.get_attribute("src")

    def value(self, name: str) -> str:
        return self.page.locator(f"#dragtext_{name} textarea, #dragtext_{name} input").first.input_value()


@pytest.fixture
def person(client, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    person = Person(context, str(client.base_url))
    yield person
    context.close()
    assert person.faults == []
    assert [url for url in person.asked if not url.startswith((str(client.base_url), "data:", "blob:"))] == []


def test_drag_render_go_on_and_back(client, person, tmp_path):
    person.prepare(tmp_path)
    person.press("drag")
    person.says("Dragging")
    person.page.wait_for_selector("#dragtext_state_picture:not([hidden])", timeout=WAIT)
    status = person.says("All steps were used")
    assert "Saved as" in status
    edited = person.result()
    infotext = person.value("infotext")
    assert f'DragText drags: "{LINE}"' in infotext
    number = person.page.locator("#dragtext_v input[type=number]").first
    number.fill("0.5")
    number.blur()
    person.press("render")
    person.says("Rendered at 0.5")
    rendered = person.result(edited)
    assert "DragText v: 0.5" in person.value("infotext")
    before = person.page.locator("#dragtext_picture img").first.get_attribute("src")
    person.press("onward")
    person.says("The result at 0.5 is the picture now.")
    person.page.wait_for_function(
        "(before) => document.querySelector('#dragtext_picture img')?.src !== before", arg=before, timeout=WAIT
    )
    assert pixels(person, "#dragtext_picture img") == pixels(person, "#dragtext_result img")
    assert person.value("points") == ""
    person.press("back")
    person.says("This is the picture before.")
    assert rendered
    # An infotext fills the form again.
    person.fill("infotext", infotext)
    person.press("use")
    person.says("Taken over")
    assert person.value("points") == LINE
    assert person.value("setting_steps") == str(SETTINGS["steps"])
    saved = sorted((client.folder / "out").rglob("*.png"))
    assert [Image.open(path).info.get("dragtext_v") for path in saved[-2:]] == [None, "0.5/0.5"]


def pixels(person, selector: str) -> list[int]:
    return person.page.evaluate(
        "(selector) => { const image = document.querySelector(selector), canvas = document.createElement('canvas');"
        " canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;"
        " const draw = canvas.getContext('2d'); draw.drawImage(image, 0, 0);"
        " return Array.from(draw.getImageData(100, 100, 8, 8).data) }",
        selector,
    )


def test_a_reload_in_the_middle_finds_the_edit_again(person, tmp_path):
    person.prepare(tmp_path, seed=1, **{name: LONG[name] for name in LONG if name not in SETTINGS}, steps=400)
    person.press("drag")
    person.says("Dragging 2")
    person.page.reload()
    person.ready()
    person.says("Dragging")
    person.press("interrupt")
    assert "best so far" in person.says("Stopped; this is the best so far")
    assert person.result()
    # And once more, when it is over: the page shows what it had.
    person.page.reload()
    person.ready()
    person.says("Stopped; this is the best so far")
    assert person.result()


def test_one_page_leaves_anothers_edit_alone(client, browser, person, tmp_path):
    person.prepare(tmp_path, seed=2, **{name: LONG[name] for name in LONG if name not in SETTINGS}, steps=400)
    person.press("drag")
    person.says("Dragging")
    other = Person(browser.new_context(), str(client.base_url))
    other.press("interrupt")
    other.says("Nothing of this page is running")
    other.press("latest")
    other.says("This page has no edit yet")
    person.says("Dragging")
    person.press("latest")
    person.says("Dragging")
    person.press("interrupt")
    person.says("best so far")
    assert other.faults == []


def test_mistakes_are_a_line_on_the_page(person, tmp_path):
    person.press("drag")
    person.says("There is no picture")
    person.press("render")
    person.says("no result to render from yet")
    person.press("onward")
    person.says("There is no result yet")
    person.prepare(tmp_path)
    person.fill("points", "1,2")
    person.press("drag")
    person.says("has no target yet")
    assert person.page.locator("#dragtext_version").inner_text().startswith("DragText ")


def test_points_are_set_by_clicks(person, tmp_path):
    person.prepare(tmp_path)
    person.press("clear_points")
    person.page.wait_for_function("() => document.querySelector('#dragtext_points textarea').value === ''")
    picture = person.page.locator("#dragtext_picture img").first
    for number, x in enumerate((0.3, 0.6)):
        box = picture.bounding_box()
        side = min(box["width"], box["height"])  # the square picture lies in the middle of its box
        position = {"x": box["width"] / 2 + (x - 0.5) * side, "y": box["height"] / 2}
        picture.click(position=position, force=True)
        person.page.wait_for_function(
            "(count) => document.querySelector('#dragtext_points textarea').value.split(',').length > count",
            arg=number + 1,
        )
    numbers = [float(part) for part in person.value("points").replace("->", ",").split(",")]
    assert np.allclose(numbers, [77, 128, 154, 128], atol=3)
    person.press("undo_point")
    person.page.wait_for_function("() => !document.querySelector('#dragtext_points textarea').value.includes('->')")
