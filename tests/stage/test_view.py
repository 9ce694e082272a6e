"""The stage's view, pictures of every size, how they come, and its looks."""

from __future__ import annotations

import pytest

from .person import OBJECT


def test_the_wheel_zooms_at_the_pointer_and_the_view_moves(visit):
    with visit() as person:
        person.go([200, 500])
        under = person.page.evaluate("p => harness.at(p)", [200, 500])
        person.page.mouse.wheel(0, -400)
        person.until("harness.stage.view.scale > 1")
        assert person.at([200, 500]) == pytest.approx(under, abs=0.6)
        for begin in ("space", "middle", "right"):
            before = person.view()
            if begin == "space":
                person.page.keyboard.down(" ")
            person.page.mouse.move(600, 400)
            person.page.mouse.down(button="left" if begin == "space" else begin)
            person.page.mouse.move(650, 430, steps=3)
            person.page.mouse.up(button="left" if begin == "space" else begin)
            if begin == "space":
                person.page.keyboard.up(" ")
            after = person.view()
            assert (after["x"] - before["x"], after["y"] - before["y"]) == pytest.approx((50, 30), abs=1), begin
        assert person.drags() == []
        person.press("Control+1")
        assert person.view()["scale"] == 1
        person.press("Control+0")
        fitted = person.view()
        person.button("pixels").click()
        person.button("fit").click()
        assert person.view() == fitted
        person.go([384, 384])
        person.page.mouse.wheel(0, -200)
        person.until(f"harness.stage.view.scale > {fitted['scale']}")
        middle = (
            "(() => { const s = harness.stage; return [(s.size.width/2 - s.view.x), (s.size.height/2 - s.view.y)]; })()"
        )
        before = person.page.evaluate(middle)
        person.page.set_viewport_size({"width": 1000, "height": 700})
        person.until("harness.stage.size.width < 1000")
        assert person.page.evaluate(middle) == pytest.approx(before, abs=1)


@pytest.mark.parametrize("size", ["768x1152", "1536x640", "701x1025", "4000x3001", "33x65", "1x1"])
def test_pictures_of_every_shape(visit, size):
    width, height = map(int, size.split("x"))
    with visit(f"size={size}") as person:
        begin, end = [width * 0.4 // 1, height * 0.55 // 1], [width * 0.7 // 1, height * 0.3 // 1]
        person.pull(begin, end)
        if min(width, height) > 1:
            assert person.doc["drags"][0] == [pytest.approx(begin, abs=4), pytest.approx(end, abs=4)]
        person.page.click('[data-layer="mask"]')
        person.button("brush").click()
        person.pull(begin, end)
        assert person.on("mask", begin)
        person.until("!harness.stage.working")
        person.shot(f"size-{size}")


def test_a_new_picture_keeps_nothing(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        person.button("around").click()
        person.page.evaluate("harness.open(320, 200)")
        assert person.doc == {"drags": [], "region": None, "mask": None, "maskAuto": True}
        assert person.button("undo").is_disabled()


def test_sharp_on_fine_screens(visit):
    with visit(device_scale_factor=2) as person:
        assert person.page.evaluate("harness.stage.canvas.width === 2 * harness.stage.size.width")
        person.pull(OBJECT, [520, 420])
        assert person.drags() == [[OBJECT, [520, 420]]]
        person.press("Control+1")
        assert person.view()["scale"] == 0.5
        person.shot("fine")


def test_files_are_dropped_and_pasted(visit):
    give = """(name) => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["x"], "a.png", { type: "image/png" }));
      const more = { bubbles: true, cancelable: true };
      const view = document.querySelector(".dragtext_view");
      const pasted = new ClipboardEvent("paste", { clipboardData: transfer, ...more });
      if (name === "paste") document.body.dispatchEvent(pasted);
      else view.dispatchEvent(new DragEvent(name, { dataTransfer: transfer, ...more }));
      return view.classList.contains("dragtext_dropping");
    }"""
    with visit("") as person:
        assert person.page.evaluate(give, "dragover")
        assert not person.page.evaluate(give, "drop")
        person.until("harness.calls.opened.length === 1")
        person.page.evaluate(give, "paste")
        assert person.calls("opened") == ["a.png", "a.png"]
        with person.page.expect_file_chooser() as chosen:
            person.page.click(".dragtext_welcome button")
        chosen.value.set_files({"name": "b.png", "mimeType": "image/png", "buffer": b"x"})
        person.until("harness.calls.opened.length === 3")
        person.page.evaluate("harness.open(300, 200)")
        person.page.mouse.move(5, 5)
        person.page.evaluate(give, "paste")  # somewhere else
        assert len(person.calls("opened")) == 3


@pytest.mark.parametrize("query", ["", "lang=de", "dark", "dark&lang=de&size=900x700", "size=900x700"])
@pytest.mark.parametrize("width", [900, 1280])
def test_looks(visit, query, width):
    with visit(query, viewport={"width": width, "height": 800}) as person:
        if "size" in query:
            person.pull([360, 385], [600, 200])
            person.pull([200, 600], [120, 500])
            person.button("around").click()
            person.button("brush").click()
            person.go([700, 500])
        else:
            steps = person.page.locator(".dragtext_steps li")
            assert steps.count() == 3
            assert "1." in steps.first.inner_text()
        person.shot(f"look-{width}-{query.replace('&', '-') or 'plain'}")
        assert person.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        person.page.locator("#dragtext_canvas").hover(force=True)
        person.press("h")
        assert person.page.locator(".dragtext_help kbd").count() > 20
        person.shot(f"help-{width}-{query.replace('&', '-') or 'plain'}")
