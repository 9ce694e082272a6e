"""Drags on the stage: pulled, moved, undone, by mouse, keys and fingers."""

from __future__ import annotations

import pytest

from .person import OBJECT


def test_two_drags_an_end_moved_and_all_of_it_undone(visit):
    with visit() as person:
        person.pull(OBJECT, [400, 400], [520, 300])
        person.click([100, 600])  # click and click
        person.click([200, 650])
        assert person.drags() == [[OBJECT, [520, 300]], [[100, 600], [200, 650]]]
        person.pull([200, 650], [260, 500])
        person.pull([100, 600], [120, 560])
        assert person.drags()[1] == [[120, 560], [260, 500]]
        person.press("ArrowRight", "Shift+ArrowDown")
        assert person.drags()[1] == [[121, 570], [260, 500]]
        person.shot("drags")
        person.click([600, 100])
        person.click([600, 100])
        assert person.drags()[2] == [[600, 100], [600, 100]]
        person.press("Delete")
        assert len(person.drags()) == 2
        for _ in range(5):
            person.press("Control+z")
        assert person.drags()[1] == [[100, 600], [260, 500]]
        person.press("Control+Shift+Z", "Control+y", "Control+y")
        assert person.drags()[1] == [[121, 570], [260, 500]]
        for _ in range(9):
            person.press("Control+z")
        assert person.drags() == []
        assert person.button("undo").is_disabled()
        person.button("redo").click()
        assert person.drags() == [[OBJECT, [520, 300]]]


def test_a_held_key_is_one_action(visit):
    with visit() as person:
        person.pull([300, 300], [400, 300])
        for _ in range(5):
            person.page.keyboard.down("ArrowRight")
        person.page.keyboard.up("ArrowRight")
        assert person.drags() == [[[300, 300], [405, 300]]]
        person.press("Control+z")
        assert person.drags() == [[[300, 300], [400, 300]]]


def test_escape_lets_go(visit):
    with visit() as person:
        person.go([300, 300])
        person.page.mouse.down()
        person.go([400, 300])
        person.press("Escape")
        person.page.mouse.up()
        person.click([300, 300])
        person.press("Escape")
        person.click([500, 500])
        person.press("Control+z")
        assert person.drags() == []
        assert person.calls("changed") == 1  # the picture itself


def test_keys_stay_where_they_belong(visit):
    with visit() as person:
        person.page.click("#other")
        person.go([300, 300])
        person.press("b", "Delete", "Control+z")
        assert person.tool() == "drag"
        person.page.mouse.move(5, 5)
        person.page.locator("#other").blur()
        person.press("b")
        assert person.tool() == "drag"
        person.go([300, 300])
        person.press("b")
        assert person.tool() == "brush"
        person.page.mouse.move(5, 5)
        person.page.locator("#dragtext_canvas").focus()
        person.press("l")
        assert person.tool() == "lasso"


def test_everything_by_keyboard(visit):
    with visit() as person:
        person.page.locator("#other").focus()
        for _ in range(40):
            person.press("Tab")
            if person.page.evaluate("document.activeElement.id") == "dragtext_canvas":
                break
        assert person.page.evaluate("document.activeElement.matches('#dragtext_canvas:focus-visible')")
        person.press("Control+1", "ArrowRight", "Enter")
        for _ in range(6):
            person.press("Shift+ArrowRight")
        person.press("Enter")
        (drag,) = person.drags()
        assert (drag[1][0] - drag[0][0], drag[1][1] - drag[0][1]) == (60, 0)
        person.shot("keyboard")
        person.press("n", "ArrowDown")
        assert person.drags()[0][0][1] == drag[0][1] + 1
        person.press("Escape", "u", "ArrowLeft", "Enter")
        for _ in range(5):
            person.press("Shift+ArrowDown")
        person.press("Shift+ArrowLeft", "Enter")
        assert person.doc["region"]
        person.press("h")
        assert person.page.locator(".dragtext_help").is_visible()
        person.press("Escape")
        assert not person.page.locator(".dragtext_help").is_visible()
        person.page.mouse.move(5, 5)
        person.page.locator('[data-layer="region"]').focus()
        person.press("ArrowRight")
        assert person.page.evaluate("harness.stage.layer") == "mask"
        assert person.page.evaluate("document.activeElement.dataset.layer") == "mask"
        names = person.page.eval_on_selector_all(
            "#stage button, #stage input:not([type=file])",
            "all => all.map(one => one.getAttribute('aria-label') || one.textContent || one.labels?.[0]?.textContent)",
        )
        assert all(name and name.strip() for name in names)


def touch(person, kind: str, *points) -> None:
    person.cdp.send(
        "Input.dispatchTouchEvent",
        {"type": kind, "touchPoints": [{"x": x, "y": y, "id": n} for n, (x, y) in enumerate(points)]},
    )


def test_fingers(visit):
    with visit(has_touch=True, viewport={"width": 820, "height": 1180}) as person:
        person.cdp = person.page.context.new_cdp_session(person.page)
        begin, end = person.at(OBJECT), person.at([520, 420])
        touch(person, "touchStart", begin)
        touch(person, "touchMove", ((begin[0] + end[0]) / 2, begin[1]))
        touch(person, "touchMove", end)
        touch(person, "touchEnd")
        assert person.drags() == [[pytest.approx(OBJECT, abs=2), pytest.approx([520, 420], abs=2)]]
        before = person.view()["scale"]
        touch(person, "touchStart", (300, 500))
        touch(person, "touchStart", (300, 500), (400, 500))
        touch(person, "touchMove", (250, 500), (450, 500))
        touch(person, "touchEnd")
        assert person.view()["scale"] == pytest.approx(2 * before, rel=0.05)
        assert len(person.drags()) == 1
        person.button("fit").click()
        person.button("brush").click()
        touch(person, "touchStart", person.at([200, 200]))
        touch(person, "touchMove", person.at([300, 200]))
        touch(person, "touchCancel")
        assert person.on("region", [250, 200])  # what was painted is kept, and the stroke has ended
        assert person.page.evaluate("harness.stage.tools.gesture") is None
        touch(person, "touchStart", person.at([200, 300]))
        touch(person, "touchEnd")
        assert not person.on("region", [250, 250])
        person.shot("touch")
