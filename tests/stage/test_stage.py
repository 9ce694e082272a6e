"""The stage alone in a real browser, with a server that is made up (harness.mjs), as a person uses it.

Skipped where there is no Chromium: DRAGTEXT_CHROMIUM names one, else it is looked for on the path. DRAGTEXT_SHOTS
names a folder for screenshots.
"""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium")

ROOT = Path(__file__).parents[2]
SHOTS = os.environ.get("DRAGTEXT_SHOTS")
WAIT = 30_000  # milliseconds
OBJECT = [310, 420]  # on what the made-up server finds, of a picture of 768 by 768


class Files(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    arguments = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield found
        found.close()


class Person:
    """Somebody at one browser tab; points are (x, y) pixels of the picture."""

    def __init__(self, page, faults: list[str]) -> None:
        self.page, self.faults = page, faults

    def at(self, point) -> tuple[float, float]:
        return tuple(self.page.evaluate("p => harness.at(p)", point))

    def go(self, point, steps: int = 3) -> None:
        self.page.mouse.move(*self.at(point), steps=steps)

    def click(self, point, **more) -> None:
        self.go(point)
        self.page.mouse.down(**more)
        self.page.mouse.up(**more)

    def pull(self, *points, button: str = "left") -> None:
        self.go(points[0])
        self.page.mouse.down(button=button)
        for point in points[1:]:
            self.go(point)
        self.page.mouse.up(button=button)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def button(self, name: str):
        return self.page.locator(f'.dragtext_toolbar [data-action="{name}"]')

    @property
    def doc(self) -> dict:
        return self.page.evaluate(
            """async () => {
              const { bounds, isEmpty } = await import("/javascript/dragtext_layer.mjs");
              const { drags, region, mask, maskAuto } = harness.stage.document;
              const around = (layer) => (isEmpty(layer) ? null : bounds(layer));
              return { drags: drags.map(({ source, target }) => [source, target]),
                region: around(region), mask: around(mask), maskAuto };
            }"""
        )

    def drags(self) -> list:
        return [[[round(v) for v in end] for end in drag] for drag in self.doc["drags"]]

    def on(self, layer: str, point) -> bool:
        return self.page.evaluate(
            """async ([name, point]) => {
              const { isOn } = await import("/javascript/dragtext_layer.mjs");
              const layer = harness.stage.document[name];
              return Boolean(layer) && isOn(layer, point);
            }""",
            [layer, point],
        )

    def calls(self, name: str):
        return self.page.evaluate("name => harness.calls[name]", name)

    def until(self, expression: str) -> None:
        self.page.wait_for_function(expression, timeout=WAIT)

    def colour(self, point) -> list[int]:
        """What the canvas shows at a point of the picture."""
        return self.page.evaluate(
            """point => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
              const { canvas, context, ratio } = harness.stage;
              const box = canvas.getBoundingClientRect();
              const [x, y] = harness.at(point);
              const place = [Math.round((x - box.left) * ratio), Math.round((y - box.top) * ratio)];
              resolve([...context.getImageData(...place, 1, 1).data].slice(0, 3));
            })))""",
            point,
        )

    def tool(self) -> str:
        return self.page.evaluate("harness.stage.tools.tool")

    def view(self) -> dict:
        return self.page.evaluate("harness.stage.view")

    def shot(self, name: str) -> None:
        if SHOTS:
            Path(SHOTS).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=str(Path(SHOTS) / f"{name}.png"))


@pytest.fixture
def visit(browser, address):
    """visit(query, **context): a Person on the harness page, who must not have seen an error."""
    people = []

    @contextmanager
    def opened(query: str = "size=768x768", faults: bool = False, **context):
        context = {"viewport": {"width": 1280, "height": 800}, **context}
        tab = browser.new_context(**context)
        page, seen = tab.new_page(), []
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("console", lambda message: message.type == "error" and seen.append(message.text))
        page.goto(f"{address}/tests/stage/harness.html?{query}")
        page.wait_for_function("() => window.harness", timeout=WAIT)
        person = Person(page, seen)
        people.append(person)
        yield person
        tab.close()
        assert faults or not seen

    return opened


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
