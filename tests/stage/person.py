"""A person in front of the stage alone: one browser tab and the gestures in it.

DRAGTEXT_SHOTS names a folder for screenshots.
"""

from __future__ import annotations

import os
from pathlib import Path

SHOTS = os.environ.get("DRAGTEXT_SHOTS")
WAIT = 30_000  # milliseconds
OBJECT = [310, 420]  # on what the made-up server finds, of a picture of 768 by 768


class Person:
    """Somebody at one browser tab; points are (x, y) pixels of the picture."""

    def __init__(self, page) -> None:
        self.page = page

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
