"""What the stage shows beside the picture: previews, results, a running edit."""

from __future__ import annotations

import pytest

from .person import OBJECT


def test_the_preview_shows_what_moves_while_it_is_pulled(visit):
    def is_red(colour):
        return colour[0] > 140 and colour[1] < 90

    with visit() as person:
        assert is_red(person.colour([330, 400]))
        person.go([330, 440])
        person.page.mouse.down()
        person.go([560, 340])
        person.until("harness.stage.preview.start !== null")
        person.go([580, 340])
        person.page.wait_for_timeout(100)
        assert is_red(person.colour([580, 300]))
        assert not is_red(person.colour([330, 400]))
        assert person.calls("start")[0]["drags"][0]["source"] == [330, 440]
        person.shot("preview")
        person.page.mouse.up()
        person.page.wait_for_timeout(100)
        assert is_red(person.colour([580, 300]))  # for as long as the pointer rests
        person.go([300, 100])
        person.page.wait_for_timeout(100)
        assert is_red(person.colour([330, 400]))
        person.press("Shift+ArrowUp")  # what is nudged is shown, too
        person.page.wait_for_timeout(100)
        assert is_red(person.colour([580, 290]))
        person.press("Control+z")
        person.page.wait_for_timeout(100)
        assert is_red(person.colour([330, 400]))
        person.press("r")
        person.go([580, 340])
        person.page.mouse.down()
        person.go([600, 200])
        person.page.wait_for_timeout(300)
        assert is_red(person.colour([330, 400]))
        person.page.mouse.up()


def test_what_hangs_on_a_body_bends(visit):
    with visit("size=768x768&bend") as person:
        person.go([307, 300])
        person.page.mouse.down()
        person.go([400, 280])
        person.until("harness.stage.preview.start !== null")
        person.go([420, 280])
        person.page.wait_for_timeout(100)
        colour = person.colour([360, 500])  # near the root it has hardly moved
        assert colour[0] > 140 > colour[1]
        person.shot("bend")
        person.page.mouse.up()


def test_result_and_picture_are_compared(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        person.page.evaluate(
            """() => {
              const canvas = Object.assign(document.createElement("canvas"), { width: 768, height: 768 });
              const context = canvas.getContext("2d");
              context.fillStyle = "#00ff00";
              context.fillRect(0, 0, 768, 768);
              harness.stage.result(canvas);
            }"""
        )
        assert person.colour([100, 100]) == [0, 255, 0]
        person.go([700, 700])
        person.page.keyboard.down("Tab")
        assert person.colour([100, 100]) != [0, 255, 0]
        person.page.keyboard.up("Tab")
        assert person.colour([100, 100]) == [0, 255, 0]
        person.page.evaluate("harness.stage.compare(0.5)")
        assert person.colour([100, 100]) != [0, 255, 0]
        assert person.colour([700, 100]) == [0, 255, 0]
        person.shot("compare")
        person.pull([383.5, 100], [200, 100])
        assert person.colour([300, 100]) == [0, 255, 0]
        assert person.page.evaluate("harness.stage.share") == pytest.approx(0.26, abs=0.01)
        person.page.evaluate("harness.stage.compare(null)")
        person.click([700, 100])
        assert person.calls("hidden") == 1
        assert person.colour([100, 100]) != [0, 255, 0]
        assert len(person.drags()) == 1


def test_a_running_edit_is_drawn_and_cannot_be_changed(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        person.page.evaluate("harness.stage.live({points: [[400, 420]], image: harness.painted(300, 300)})")
        person.pull([600, 600], [700, 700])
        person.press("Control+z")
        assert person.drags() == [[OBJECT, [520, 420]]]
        assert person.button("brush").is_disabled()
        person.shot("live")
        person.page.evaluate("harness.stage.endLive()")
        person.press("Control+z")
        assert person.drags() == []


def test_the_pointer_rests(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        assert person.calls("rested") == []
        person.until("harness.calls.rested.length === 1")
        person.go([600, 100])
        person.page.wait_for_timeout(1000)
        assert person.calls("rested") == [1]  # nothing has changed since
        person.page.evaluate("harness.stage.quick(harness.painted(30, 30))")
        person.pull([100, 100], [200, 100])
        assert person.page.evaluate("harness.stage.hasty") is None
        assert len(person.drags()) == 2
        person.until("harness.calls.rested.length === 2")
