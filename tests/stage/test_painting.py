"""What is painted on the stage and what is picked on it."""

from __future__ import annotations

from .person import OBJECT, WAIT


def test_a_mask_is_painted_and_erased(visit):
    with visit() as person:
        person.page.click('[data-layer="mask"]')
        person.go([300, 300])
        person.press("b")
        person.page.evaluate("harness.stage.setDiameter(60)")
        person.pull([300, 300], [400, 300], [500, 300])
        assert person.on("mask", [400, 320])
        assert not person.doc["maskAuto"]
        assert person.doc["region"] is None
        person.press("e")
        person.pull([400, 250], [400, 350])
        assert not person.on("mask", [400, 300])
        person.press("b")
        person.page.keyboard.down("Shift")
        person.pull([300, 250], [300, 350])
        person.page.keyboard.up("Shift")
        assert not person.on("mask", [300, 300])
        assert person.on("mask", [350, 300])
        person.press("u")
        person.pull([100, 100], [200, 200])
        person.press("l")
        person.pull([600, 600], [700, 600], [650, 700])
        assert person.on("mask", [150, 150])
        assert person.on("mask", [650, 630])
        person.shot("mask")
        person.button("invert").click()
        assert person.on("mask", [10, 10])
        assert not person.on("mask", [150, 150])
        person.button("clear").click()
        assert person.doc["mask"] is None
        for _ in range(2):
            person.button("undo").click()
        assert person.on("mask", [150, 150])
        for _ in range(5):
            person.button("undo").click()
        assert person.doc["mask"] is None
        assert person.doc["maskAuto"]


def test_brush_size_by_keys_and_wheel(visit):
    with visit() as person:
        person.go([300, 300])
        person.press("b")
        size = "harness.stage.diameter"
        before = person.page.evaluate(size)
        person.press("]", "Shift+BracketRight", "[")
        assert person.page.evaluate(size) == before + 10
        person.page.keyboard.down("Control")
        person.page.mouse.wheel(0, -100)
        person.until(f"{size} > {before + 10}")
        person.page.keyboard.up("Control")
        for _ in range(12):
            person.press("Shift+BracketLeft")
        assert person.page.evaluate(size) == 1
        person.click([300, 300])
        assert person.doc["region"] == [300, 300, 300, 300]


def test_what_moves_is_picked_mended_and_the_mask_follows(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        person.press("o")
        person.click(OBJECT)
        person.until("harness.stage.document.region !== null")
        person.until("harness.stage.document.mask !== null")
        assert person.on("region", [307, 422])
        assert person.on("mask", [500, 420])
        assert person.doc["maskAuto"]
        person.page.wait_for_timeout(50)
        person.shot("picked")
        person.page.click('[data-pick="minus"]')
        person.pull([307, 300], [307, 340])
        person.until("harness.calls.pick.length === 2")
        person.until("harness.stage.history.place === 3")
        asked = person.calls("pick")[1]
        assert asked["handles"] == person.calls("pick")[0]["handles"]
        assert asked["minus"][0]["points"]
        assert not person.on("region", [307, 320])
        person.press("Control+z")
        assert person.on("region", [307, 320])
        person.page.click('[data-pick="object"]')
        person.pull([600, 600], [700, 700])
        person.until("harness.calls.pick.length === 3")
        assert [round(v) for v in person.calls("pick")[2]["box"]] == [600, 600, 700, 700]
        person.until("harness.stage.history.place === 3")
        assert not person.on("region", OBJECT)
        person.page.keyboard.down("Shift")
        person.click(OBJECT)
        person.page.keyboard.up("Shift")
        person.until("harness.stage.history.place === 4")
        assert person.on("region", OBJECT)
        assert person.on("region", [650, 650])


def test_a_mask_that_somebody_painted_follows_no_more_until_it_is_told_to(visit):
    with visit() as person:
        person.pull(OBJECT, [520, 420])
        person.press("o")
        person.click(OBJECT)
        person.until("harness.stage.document.mask !== null")
        person.press("x", "u")
        person.pull([10, 10], [60, 60])
        before = person.calls("maskFor")
        person.press("d")
        person.pull([520, 420], [560, 300])
        person.page.wait_for_timeout(400)
        assert person.calls("maskFor") == before
        person.page.locator('[data-action="follow"]').check()
        person.until(f"harness.calls.maskFor.length > {len(before)}")
        person.until("harness.stage.document.mask !== null")
        assert not person.on("mask", [30, 30])


def test_around_my_drags_is_one_click(visit):
    with visit() as person:
        assert person.button("around").is_disabled()
        person.pull(OBJECT, [520, 420])
        person.button("around").click()
        for point in (OBJECT, [520, 420], [410, 440]):
            assert person.on("mask", point)
        person.shot("around")
        person.button("undo").click()
        assert person.doc["mask"] is None


def test_what_the_server_refuses_is_said(visit):
    with visit("size=768x768&refuse") as person:
        person.go([300, 300])
        person.press("o")
        person.click([300, 300])
        person.page.wait_for_selector(".dragtext_told.dragtext_wrong", timeout=WAIT)
        assert "the server said no" in person.page.locator(".dragtext_told").inner_text()
        assert person.doc["region"] is None
