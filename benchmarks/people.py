"""What five people have to do for their edits in the Drag tab, from a cold page: gestures, and seconds.

    python -m benchmarks.people [--film tab.gif]     # in a clone, with DragText, playwright and Chromium installed

Each comes to a page that nobody has opened yet, of a `dragtext ui` that has drawn one edit before. A gesture is a press
of a button, a pull, a key, or a file that is dropped. Their hands take no time and nobody thinks: of the seconds, those
until the last gesture are the page's, the rest is the edit. --film: also a short film of somebody who moves a duck.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dragtext.extension.pictures import png_of
from dragtext.sdk.evaluation.examples import Example, examples
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, sync_playwright  # pyright: ignore[reportMissingImports]

from tests.webui.person import WAIT, Person
from tests.webui.test_standalone import server

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
COUNT = """
window.gestures = 0;
for (const kind of ["pointerdown", "drop", "keydown"])
  addEventListener(kind, (event) => { if (!event.repeat) window.gestures += 1; }, true);
"""
FILM_SIZE = (1120, 560)
FILM_WIDTH = 800
POINTER = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))


def pulls(example: Example) -> list[tuple]:
    """What the example's own drags ask for, one pull each."""
    return [(drag.source, drag.target) for drag in example.request.drags]


def dragged(person: Person, before: int = 0) -> None:
    """Press Drag and wait for one result more."""
    person.press("drag")
    person.page.wait_for_function(
        "(before) => document.querySelectorAll('#dragtext_results [data-job]').length > before",
        arg=before,
        timeout=WAIT,
    )
    person.result()


def do_example(name: str) -> Callable[[Person, Path], None]:
    """Drop the example's picture and pull what it shows."""

    def job(person: Person, folder: Path) -> None:
        example = next(one for one in examples() if one.name == name)
        path = folder / f"{name}.png"
        path.write_bytes(png_of(example.picture))
        person.drop(path)
        person.has_picture()
        for pull in pulls(example):
            person.pull(*pull)
        dragged(person)

    return job


def mend_yesterdays(person: Person, folder: Path) -> None:
    """Drop yesterday's result, move one target, drag again."""
    person.drop(folder / "yesterday.png")
    person.says("Restored", timeout=WAIT)
    (_, (x, y)), *_ = person.document()["drags"]
    person.tool("move")
    person.pull((x, y), (x - 20, y - 12))
    dragged(person)


def three_variants(person: Person, folder: Path) -> None:
    """One drag by the model's own way, by GoodDrag, and by GoodDrag without text optimisation."""
    do_example("duck")(person, folder)
    person.fill("setting_steps", 4)  # a loop from the start that the model recommends
    dragged(person, 1)
    person.page.locator("#dragtext_setting_text input").click()
    dragged(person, 2)


JOBS: dict[str, Callable[[Person, Path], None]] = {
    "move an object (a duck)": do_example("duck"),
    "open a mouth (a cat's ears: its figure has a part that moves, as a mouth does)": do_example("cat"),
    "turn a head (a fish)": do_example("fish"),
    "fix yesterday's edit from its PNG": mend_yesterdays,
    "three variants of one drag": three_variants,
}


def visit(browser: Browser, address: str, size: tuple[int, int] = (1280, 800)) -> Person:
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, locale="en", accept_downloads=True)
    context.add_init_script("localStorage.setItem('dragtext_quick', 'off')")
    context.add_init_script(COUNT)
    return Person(context, address)


class Film:
    """Frames of a page with a pointer drawn in, which a browser without a screen has not."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.frames: list[tuple[Image.Image, int]] = []
        self.pointer = (FILM_SIZE[0] * 0.55, FILM_SIZE[1] * 0.9)

    def frame(self, milliseconds: int = 70) -> None:
        picture = Image.open(io.BytesIO(self.person.page.screenshot())).convert("RGB")
        x, y = self.pointer
        shape = [(x + dx, y + dy) for dx, dy in POINTER]
        ImageDraw.Draw(picture).polygon(shape, fill="white", outline="black")
        height = round(picture.height * FILM_WIDTH / picture.width)
        self.frames.append((picture.resize((FILM_WIDTH, height), Image.Resampling.LANCZOS), milliseconds))

    def go(self, x: float, y: float, steps: int = 7) -> None:
        """Move the pointer there, whatever is pressed."""
        begin = self.pointer
        for step in range(1, steps + 1):
            part = step / steps
            part = part * part * (3 - 2 * part)
            self.pointer = (begin[0] + (x - begin[0]) * part, begin[1] + (y - begin[1]) * part)
            self.person.page.mouse.move(*self.pointer)
            self.person.page.wait_for_timeout(60)  # the page draws
            self.frame()

    def save(self, path: Path) -> None:
        """With one palette for all frames, so that nothing flickers."""
        sample = Image.new("RGB", (FILM_WIDTH, 4 * self.frames[0][0].height))
        for number, place in enumerate((0, 0.4, 0.7, 0.999)):
            sample.paste(self.frames[int(place * len(self.frames))][0], (0, number * self.frames[0][0].height))
        palette = sample.quantize(255, dither=Image.Dither.NONE)
        small = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame, _ in self.frames]
        times = [milliseconds for _, milliseconds in self.frames]
        small[0].save(path, save_all=True, append_images=small[1:], duration=times, loop=0, optimize=True)


def film(browser: Browser, address: str, folder: Path, path: Path) -> None:
    """Somebody pulls a duck, presses Drag, and compares."""
    example = next(one for one in examples() if one.name == "duck")
    source, target = pulls(example)[0]
    person = visit(browser, address, FILM_SIZE)
    file = folder / "duck.png"
    file.write_bytes(png_of(example.picture))
    person.drop(file)
    person.has_picture()
    person.fill("prompt", example.prompt)
    shown = Film(person)
    shown.frame(700)
    shown.go(*person.at(source))
    person.page.mouse.down()
    person.page.wait_for_function("() => window.dragtext.stage().preview", timeout=WAIT)
    shown.go(*person.at(target), steps=14)
    person.page.wait_for_timeout(1500)  # what moves is found
    shown.go(shown.pointer[0] + 1, shown.pointer[1], steps=2)
    person.page.mouse.up()
    person.page.wait_for_timeout(500)
    shown.frame(900)
    button = person.page.locator("#dragtext_drag").bounding_box()
    shown.go(button["x"] + button["width"] / 2, button["y"] + button["height"] / 2)
    person.page.mouse.down()
    person.page.mouse.up()
    deadline = time.monotonic() + WAIT / 1000
    while person.page.locator("#dragtext_results .dragtext_after:not([hidden])").count() == 0:
        shown.frame(250)
        person.page.wait_for_timeout(250)
        if time.monotonic() > deadline:
            raise TimeoutError("The edit did not end.")
    person.page.wait_for_timeout(400)
    shown.frame(1600)
    person.page.locator('#dragtext_results [data-view="compare"]').click()
    for share in [*range(50, 4, -5), *range(5, 96, 6), *range(95, 49, -6)]:
        person.page.locator("#dragtext_divider").evaluate(
            "(slider, share) => { slider.value = share; slider.dispatchEvent(new Event('input')); }", share / 100
        )
        person.page.wait_for_timeout(40)
        shown.frame(60)
    shown.frame(1500)
    shown.save(path)
    person.page.context.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--film", type=Path, help="a GIF of somebody who moves a duck")
    chosen = parser.parse_args()
    chromium = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        with server(folder) as client:
            browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
            address = str(client.base_url)
            first = visit(browser, address)
            do_example("duck")(first, folder)
            first.download(lambda: first.do("download")).rename(folder / "yesterday.png")
            first.page.context.close()
            print(f"{'gestures':>10}{'seconds':>10}{'of them the page':>20}")
            for title, job in JOBS.items():
                begin = time.perf_counter()
                person = visit(browser, address)
                ready = time.perf_counter() - begin
                job(person, folder)
                seconds = time.perf_counter() - begin
                print(f"{person.page.evaluate('gestures'):10}{seconds:10.1f}{ready:20.1f}   {title}", flush=True)
                if person.faults:
                    print(f"complaints: {person.faults}")
                person.shot(title.split(" (")[0].replace(" ", "-"))
                person.page.context.close()
            if chosen.film:
                film(browser, address, folder, chosen.film)
            browser.close()


if __name__ == "__main__":
    main()
