"""A person in the Drag tab of a WebUI that runs, in a real browser; see test_live.py.

DRAGTEXT_WEBUI_AUTH=name:password is the login of a WebUI that was started with --gradio-auth. DRAGTEXT_SHOTS names a
folder for pictures of what was seen. Any checkpoint will do; the one that `dragtext export-model` writes is fastest.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from ..webui.person import Person, different
from .test_live import URL

pytestmark = pytest.mark.skipif(not URL, reason="DRAGTEXT_WEBUI_URL names no running WebUI")

AUTH = os.environ.get("DRAGTEXT_WEBUI_AUTH", "")
WAIT = 600_000  # milliseconds; an edit on a busy CPU


class Guest(Person):
    """In a WebUI the tab is one of many, and not every complaint in the console is about us."""

    def ready(self) -> None:
        self.page.wait_for_function("() => window.dragtext?.stage?.()?.canvas", timeout=WAIT)
        tabs = [self.page.get_by_role(role, name="DragText", exact=True) for role in ("tab", "button")]
        tabs[0].or_(tabs[1]).first.click()
        super().ready()
        self.page.wait_for_selector("#dragtext_canvas", state="attached")

    def hear(self, told) -> None:
        if "dragtext" in f"{told.text} {told.location}".lower():
            super().hear(told)


@pytest.fixture
def visit(browser):
    """Opens the WebUI as somebody with such a window; at the end our page may have nothing to complain about."""
    people = []

    def enter(query: str = "", width: int = 1280) -> Guest:
        context = browser.new_context(viewport={"width": width, "height": 800}, locale="en")
        context.set_default_timeout(WAIT)
        context.add_init_script("localStorage.setItem('dragtext_quick', 'off')")
        if AUTH:
            name, _, password = AUTH.partition(":")
            answer = context.request.post(f"{URL}/login", form={"username": name, "password": password})
            assert answer.ok, answer.text()
        people.append(Guest(context, f"{URL}/{query}"))
        return people[-1]

    yield enter
    for person in people:
        person.page.context.close()
        assert person.faults == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_from_an_example_to_a_result_that_a_reload_finds_again(visit, theme):
    person = visit(f"?__theme={theme}")
    person.open_example()
    assert person.in_sight("#dragtext_canvas", "#dragtext_drag", "#dragtext_interrupt", "#dragtext_prompt")
    given = person.document()["drags"]
    # The end of a drag is pulled elsewhere, which is undone and redone.
    target = given[0][1]
    elsewhere = [target[0] + 12, target[1] - 10]
    person.pull(target, elsewhere)
    pulled = person.document()["drags"]
    assert np.allclose(pulled[0], [given[0][0], elsewhere], atol=1)
    person.page.keyboard.press("Control+z")
    assert person.document()["drags"] == given
    person.tool("redo")
    assert person.document()["drags"] == pulled
    # Help is one key away and goes again.
    help_page = person.page.locator("#dragtext_stage .dragtext_help:visible")
    person.page.locator("#dragtext_canvas").hover()
    person.page.keyboard.press("h")
    assert help_page.count() == 1
    person.shot(f"{theme}-help")
    person.page.keyboard.press("h")
    assert help_page.count() == 0
    person.shot(f"{theme}-pulled")
    # It runs, and the result is there, beside what it was made from if somebody wants that.
    person.press("drag")
    job = person.result()
    person.infotext()
    person.rest()
    person.shot(f"{theme}-result")
    alone = person.shown()
    person.page.locator('[data-view="compare"]').click()
    person.rest()
    assert different(alone, person.shown())
    person.shot(f"{theme}-compared")
    # Somebody who comes back finds everything.
    person.page.reload()
    person.ready()
    person.page.wait_for_selector(f'#dragtext_results [data-job="{job}"]')
    person.page.wait_for_function("() => window.dragtext.stage().document.picture")
    assert person.document()["drags"] == pulled
    person.card(job)
    assert person.result() == job


@pytest.mark.parametrize("width", [900, 1280])
def test_nothing_is_wider_than_the_window(visit, width):
    person = visit(width=width)
    person.open_example()
    person.shot(f"wide-{width}")
    assert person.in_sight("#dragtext_drag", "#dragtext_interrupt")
    rows = person.page.evaluate(
        """() => ["#dragtext_stage", "#dragtext_side"].map((name) => {
          const box = document.querySelector(name).getBoundingClientRect();
          return [box.left, box.right];
        })"""
    )
    assert all(0 <= left < right <= width for left, right in rows)
