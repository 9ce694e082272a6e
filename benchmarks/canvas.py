"""How quickly the page draws a drag while it is pulled: frames per second of the stage in headless Chromium.

    python benchmarks/canvas.py [--size 1024] [--seconds 2]

Chromium draws in software. The server of tests/stage/harness.mjs is made up, so only the page is measured: the map of
the warp, the pixels that land, the picture, the arrows. "Computed for" is the processor's time of the page's main
thread per frame, which a busy machine does not change; the rest is by the clock. Wants playwright and Chromium
(DRAGTEXT_CHROMIUM, or on the path).
"""

from __future__ import annotations

import argparse
import functools
import http.server
import os
import shutil
import threading
from pathlib import Path

from playwright.sync_api import CDPSession, sync_playwright  # pyright: ignore[reportMissingImports]

ROOT = Path(__file__).parents[1]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
# As seen in shares of the picture: drags there already, then the one that is pulled; its target goes round in a circle.
SITUATIONS = {
    "one drag": ("", [], [0.4, 0.55]),
    "a turn about a pin": ("", [[[0.33, 0.55], [0.33, 0.55]]], [0.47, 0.55]),
    "three drags": ("", [[[0.33, 0.5], [0.36, 0.48]], [[0.4, 0.68], [0.42, 0.7]]], [0.47, 0.5]),
    "a part that bends": ("&bend", [], [0.4, 0.42]),
    "half of the picture": ("&large", [[[0.2, 0.5], [0.2, 0.5]]], [0.7, 0.5]),
}
PULL = """
([seconds, drags, source]) => new Promise((resolve) => {
  const { stage } = harness;
  const { width, height } = stage.document.picture;
  const point = ([x, y]) => [x * width, y * height];
  const given = drags.map(([from, to]) => ({ source: point(from), target: point(to) }));
  if (given.length) stage.replace({ ...stage.document, drags: given });
  const screen = (x, y) => {
    const box = stage.canvas.getBoundingClientRect();
    const [left, top] = harness.at([x * width, y * height]);
    return [left - box.left, top - box.top];
  };
  const mods = {};
  stage.hand.press(screen(...source), mods);
  const spent = [];
  let [turn, begin, frames] = [0, 0, 0];
  const paint = stage.paintNow.bind(stage);
  stage.paintNow = () => {
    const before = performance.now();
    paint();
    spent.push(performance.now() - before);
  };
  let computed = 0;
  const step = async (now) => {
    turn += 0.1;
    stage.hand.move([screen(source[0] + 0.2 * Math.cos(turn), source[1] + 0.2 * Math.sin(turn))], mods);
    if (stage.preview.start && !begin) {
      computed = await processor();
      begin = performance.now();
      spent.length = 0;
    } else if (begin) frames++;
    if (begin && now - begin > seconds * 1000) {
      computed = (1000 * ((await processor()) - computed)) / frames;
      stage.tools.cancel();
      spent.sort((one, other) => one - other);
      const [middle, late] = [spent[spent.length >> 1], spent[Math.floor(spent.length * 0.95)]];
      resolve({ rate: (frames * 1000) / (now - begin), spent: computed, middle, late });
    } else requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})
"""


class Files(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: str | os.PathLike[str]) -> str:
        return "text/javascript" if str(path).endswith(".mjs") else super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


def busy(counter: CDPSession) -> float:
    """Seconds that the page's main thread has computed for."""
    return next(m["value"] for m in counter.send("Performance.getMetrics")["metrics"] if m["name"] == "TaskDuration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=1024, help="side of the picture, pixels")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each situation")
    chosen = parser.parse_args()
    chromium = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(ROOT)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/tests/stage/harness.html"
    print(f"{chosen.size} x {chosen.size} pixels, shown in a window of 1280 x 900")
    print(f"{'':24}{'frames a second':>16}{'computed for, ms':>20}{'drawn in, ms':>14}{'of 20 the slowest':>20}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for name, (query, drags, source) in SITUATIONS.items():
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.goto(f"{address}?size={chosen.size}x{chosen.size}{query}")
            page.wait_for_function("() => window.harness")
            counter = page.context.new_cdp_session(page)
            counter.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.expose_function("processor", lambda counter=counter: busy(counter))
            found = page.evaluate(PULL, [chosen.seconds, drags, source])
            print(f"{name:24}{found['rate']:16.0f}{found['spent']:20.1f}{found['middle']:14.1f}{found['late']:20.1f}")
            page.close()
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main()
