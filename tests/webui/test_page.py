"""The tab in a real browser, as a person uses it, against `dragtext ui` under the installed gradio.

Skipped where there is no Chromium: DRAGTEXT_CHROMIUM names one, else it is looked for on the path.
"""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from .person import WAIT, Person
from .test_standalone import server

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")

ARGUMENTS = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
# A loop from the picture as it is, which takes its time; the model's own settings would begin at the end.
QUICK = {"steps": 6, "inference_steps": 10, "lora_steps": 2, "lora_batch": 1}
LONG = {**QUICK, "steps": 400, "drag_levels": 5, "tracks_per_level": 100, "patience": 500}
PULL = (100, 120), (140, 120)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    options = ("--option", "preview_every=2", "--option", "default_settings=start=none")
    with server(tmp_path_factory.mktemp("page"), *options) as client:
        yield client


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def person(client, browser):
    context = browser.new_context(viewport={"width": 1280, "height": 800}, locale="en", accept_downloads=True)
    context.add_init_script("localStorage.setItem('dragtext_quick', 'off')")
    person = Person(context, str(client.base_url))
    yield person
    context.close()
    assert person.faults == []
    assert [url for url in person.asked if not url.startswith((str(client.base_url), "data:", "blob:"))] == []


def test_pull_drag_and_look(client, person, tmp_path):
    person.open_scene(tmp_path, **QUICK)
    person.pull(*PULL)
    assert np.allclose(person.document()["drags"], [PULL], atol=1)
    before = person.shown()
    person.press("drag")
    person.says("Dragging")
    assert "Saved as" in person.says("All steps were used")
    edit = person.result()
    assert person.cards() == [edit]
    assert person.told(f"edits/{edit}")["state"] == "done"
    person.page.mouse.move(5, 5)
    assert np.abs(person.shown().astype(int) - before).max() > 20
    assert "DragText drags" in person.value("infotext")


def test_a_reload_in_the_middle_finds_the_edit_again(client, person, tmp_path):
    person.open_scene(tmp_path, seed=1, **LONG)
    person.pull(*PULL)
    told = person.document()
    person.press("drag")
    person.says("Dragging .* step [2-9]")
    person.page.reload()
    person.ready()
    person.says("Dragging")
    assert person.document() == told
    assert person.value("prompt") == "a red circle"
    assert person.value("setting_steps") == "400"
    person.press("interrupt")
    assert "best so far" in person.says("Stopped; this is the best so far")
    edit = person.result()
    # And once more, when it is over: the page has its results.
    person.page.reload()
    person.ready()
    person.page.wait_for_selector("#dragtext_results [data-job]", timeout=WAIT)
    assert edit in person.cards()


def test_one_page_leaves_anothers_edit_alone(client, browser, person, tmp_path):
    person.open_scene(tmp_path, seed=2, **LONG)
    person.pull(*PULL)
    person.press("drag")
    person.says("Dragging")
    other = Person(browser.new_context(locale="en"), str(client.base_url))
    other.press("interrupt")
    other.says("Nothing of this page is running")
    assert other.cards() == []
    person.says("Dragging")
    person.press("interrupt")
    person.says("best so far")
    assert other.faults == []


def test_mistakes_are_a_line_on_the_page(person, tmp_path):
    person.press("drag")
    person.says("There is no picture")
    person.open_scene(tmp_path)
    person.press("drag")
    person.says("no drags yet")
    person.fill("setting_steps", "many")
    person.pull(*PULL)
    person.press("drag")
    person.says("'steps'")
    assert person.page.locator("#dragtext_version").inner_text().startswith("DragText ")
