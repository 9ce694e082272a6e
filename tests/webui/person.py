"""A person in front of the Drag tab: a browser page, what it asked and complained about, and the person's gestures."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image

from ..helpers import scene

WAIT = 120_000  # milliseconds
SHOTS = os.environ.get("DRAGTEXT_SHOTS", "")
SCREEN = """([x, y]) => {
  const { view } = window.dragtext.stage();
  return [view.x + x * view.scale, view.y + y * view.scale];
}"""
DOCUMENT = """() => {
  const { drags, region, mask, maskAuto, picture } = window.dragtext.stage().document;
  const pairs = drags.map(({ source, target }) => [source, target]);
  return { drags: pairs, region: Boolean(region), mask: Boolean(mask), maskAuto, picture };
}"""
LAYER = """async (name) => {
  const { layerToPngBlob } = await import(window.dragtext.address("javascript/dragtext_layer.mjs"));
  const blob = await layerToPngBlob(window.dragtext.stage().document[name]);
  return Array.from(new Uint8Array(await blob.arrayBuffer()));
}"""
DROP = """([name, bytes]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name));
  const view = document.querySelector("#dragtext_stage .dragtext_view");
  view.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""
PASTE = """(bytes) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], "pasted.png", { type: "image/png" }));
  document.dispatchEvent(new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true, cancelable: true }));
}"""
ROUTE = """async (path) => {
  const headers = { "X-DragText": sessionStorage.dragtext_page };
  return (await fetch(window.dragtext.address(path), { headers })).text();
}"""


def scene_file(folder: Path, seed: int) -> Path:
    path = folder / f"scene{seed}.png"
    path.write_bytes(base64.b64decode(scene(seed)))
    return path


def different(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape != other.shape or int(np.abs(one.astype(int) - other).max()) > 30


class Person:
    """One browser tab. faults: what went wrong in it; asked: the addresses that it asked for."""

    def __init__(self, context, address: str) -> None:
        self.page = context.new_page()
        self.asked, self.faults = [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self.hear)
        self.page.goto(address)
        self.ready()

    def ready(self) -> None:
        self.page.wait_for_selector("#dragtext_drag", timeout=WAIT)
        self.page.wait_for_function("() => window.dragtext?.stage()?.canvas", timeout=WAIT)

    def hear(self, told) -> None:
        if told.type == "error":
            self.faults.append(f"{told.text} {told.location}")

    # The picture.

    def open(self, path: Path) -> None:
        self.page.set_input_files("#dragtext_stage input[type=file]", str(path))
        self.has_picture()

    def open_example(self) -> None:
        self.page.locator("#dragtext_stage .dragtext_examples button").first.click()
        self.has_picture()

    def open_scene(self, folder: Path, seed: int = 0, **settings) -> None:
        self.open(scene_file(folder, seed))
        self.fill("prompt", "a red circle")
        for name, value in settings.items():
            self.fill(f"setting_{name}", value)

    def drop(self, path: Path) -> None:
        """Let go of a file over the canvas."""
        self.page.evaluate(DROP, [path.name, list(path.read_bytes())])

    def paste(self, data: bytes) -> None:
        """Paste a picture."""
        self.page.locator("#dragtext_canvas").hover()
        self.page.evaluate(PASTE, list(data))

    def has_picture(self) -> None:
        self.page.wait_for_function("() => window.dragtext.stage().document.picture", timeout=WAIT)
        self.says("Pull what|Restored|opened", timeout=WAIT)

    def document(self) -> dict:
        """The canvas's document: drags as pairs, the layers as whether there is one."""
        return self.page.evaluate(DOCUMENT)

    def layer(self, name: str) -> np.ndarray:
        """A painted layer as (H, W) bool."""
        data = bytes(self.page.evaluate(LAYER, name))
        return np.array(Image.open(io.BytesIO(data)).convert("L")) > 127

    # Gestures. Points are (x, y) in pixels of the picture.

    def at(self, point) -> tuple[float, float]:
        box = self.page.locator("#dragtext_canvas").bounding_box()
        x, y = self.page.evaluate(SCREEN, list(point))
        return box["x"] + x, box["y"] + y

    def pull(self, *points, key: str = "") -> None:
        if key:
            self.page.keyboard.down(key)
        self.page.mouse.move(*self.at(points[0]))
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*self.at(point), steps=6)
        self.page.mouse.up()
        if key:
            self.page.keyboard.up(key)

    def touch(self, *points) -> None:
        """Pull with a finger."""
        session = self.page.context.new_cdp_session(self.page)

        def send(kind: str, *at: float) -> None:
            fingers = [{"x": at[0], "y": at[1]}] if at else []
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": fingers})

        (x0, y0), (x1, y1) = (self.at(point) for point in points)
        send("touchStart", x0, y0)
        for step in range(1, 9):
            send("touchMove", x0 + (x1 - x0) * step / 8, y0 + (y1 - y0) * step / 8)
        send("touchEnd")

    def rest(self) -> None:
        """Take the pointer off the canvas, and let it be drawn."""
        self.page.mouse.move(3, 3)
        self.page.wait_for_timeout(400)

    def click(self, point) -> None:
        self.page.mouse.click(*self.at(point))

    def tool(self, action: str) -> None:
        self.page.locator(f'#dragtext_stage [data-action="{action}"]').first.click()

    def layer_button(self, name: str) -> None:
        self.page.locator(f'#dragtext_stage [data-layer="{name}"]').first.click()

    # The form and what lies under the canvas.

    def fill(self, name: str, value: object) -> None:
        box = self.page.locator(f"#dragtext_{name} textarea, #dragtext_{name} input:not([type=range])").first
        if not box.is_visible():
            self.page.locator("#dragtext_advanced .label-wrap").click()
        box.fill(str(value))
        box.blur()

    def value(self, name: str) -> str:
        return self.page.locator(
            f"#dragtext_{name} textarea, #dragtext_{name} input:not([type=range])"
        ).first.input_value()

    def press(self, name: str) -> None:
        self.page.locator(f"#dragtext_{name}").click()

    def do(self, name: str) -> None:
        self.page.locator(f'#dragtext_results [data-do="{name}"]').first.click()

    def item(self, name: str) -> None:
        """An entry of a menu."""
        entry = self.page.locator(f'#dragtext_results [data-do="{name}"]').first
        entry.locator("xpath=ancestor::details/summary").click()
        entry.click()

    def card(self, job: str) -> None:
        self.page.locator(f'#dragtext_results [data-job="{job}"] .dragtext_card_open').click()

    def download(self, action) -> Path:
        """What the browser saves of it."""
        with self.page.expect_download(timeout=WAIT) as waited:
            action()
        path = Path(waited.value.path())
        named = path.with_name(f"{path.name[:8]}-{waited.value.suggested_filename}")
        path.rename(named)
        return named

    def infotext(self) -> str:
        self.page.wait_for_function("() => document.querySelector('#dragtext_infotext textarea').value", timeout=WAIT)
        self.page.wait_for_timeout(500)
        return self.value("infotext")

    def in_sight(self, *wanted: str) -> bool:
        """Whether all of these lie whole in the window, and nothing is wider than it."""
        width, height = self.page.viewport_size["width"], self.page.viewport_size["height"]
        boxes = [self.page.locator(one).bounding_box() for one in wanted]
        inside = all(box["x"] + box["width"] <= width and box["y"] + box["height"] <= height for box in boxes)
        return inside and self.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")

    def shot(self, name: str) -> None:
        """A picture of the page, for whoever wants to look at it."""
        if SHOTS:
            self.page.screenshot(path=Path(SHOTS) / f"{name}.png")

    def says(self, words: str, timeout: int = WAIT) -> str:
        """Wait until the line says something that matches."""
        self.page.wait_for_function(
            "(words) => new RegExp(words).test(document.querySelector('#dragtext_status p')?.textContent ?? '')",
            arg=words,
            timeout=timeout,
        )
        return self.page.locator("#dragtext_status p").first.inner_text()

    def cards(self) -> list[str]:
        """Ids of the results in the strip."""
        return self.page.eval_on_selector_all(
            "#dragtext_results [data-job]", "(all) => all.map((one) => one.dataset.job)"
        )

    def shown(self) -> np.ndarray:
        """The canvas as it is seen, (H, W, 3)."""
        return np.array(Image.open(io.BytesIO(self.page.locator("#dragtext_canvas").screenshot())).convert("RGB"))

    def result(self) -> str:
        """Wait for a result on the canvas; its id."""
        self.page.wait_for_selector("#dragtext_results .dragtext_after:not([hidden])", timeout=WAIT)
        return self.page.locator("#dragtext_results .dragtext_chosen").first.get_attribute("data-job")

    def told(self, path: str) -> dict:
        """What a route of the page says."""
        return json.loads(self.page.evaluate(ROUTE, path))
