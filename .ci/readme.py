"""Runs what README shows and a test suite does not: a drag by command line and by Python, the page, and a client of it.

    python .ci/readme.py FOLDER drag|page|client

What README calls cat.png, mask.png and dreamshaper_8.safetensors is made in FOLDER: a drawn scene, and the embedded
model as a checkpoint.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
START = 300  # seconds that a server has for its first answer, on a machine that does other things too
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.M | re.S)


def shown(beginning: str) -> str:
    """README's only command that begins like this, up to the next of the same line."""
    lines = [line for _, text in BLOCKS for line in text.splitlines()]
    (found,) = re.findall(rf"(?:^|&& ){beginning}.*?(?= &&|$)", "\n".join(lines), re.M)
    return found.removeprefix("&& ")


def drag(folder: Path) -> None:
    from dragtext.sdk.evaluation.tasks import drag_task
    from PIL import Image

    task = drag_task(0, "move")
    Image.fromarray(task.image).save(folder / "cat.png")
    Image.new("L", task.image.shape[1::-1], 255).save(folder / "mask.png")
    subprocess.run(["dragtext", "export-model", "dreamshaper_8.safetensors"], cwd=folder, check=True)
    (python,) = [text for language, text in BLOCKS if language == "python"]
    for command in (["bash", "-c", shown("dragtext edit")], [sys.executable, "-c", python]):
        (folder / "out.png").unlink(missing_ok=True)
        subprocess.run(command, cwd=folder, check=True)
        assert Image.open(folder / "out.png").size == task.image.shape[1::-1]


@contextmanager
def served(command: list[str], folder: Path, port: int) -> Iterator[str]:
    """The address of a server that answers; ended with Ctrl-C, which it has to obey."""
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(command, cwd=folder)
    try:
        begin = time.monotonic()
        while time.monotonic() < begin + START:
            try:
                with urllib.request.urlopen(address + "/", timeout=5) as answer:
                    assert b"gradio" in answer.read()
                break
            except OSError:
                assert process.poll() is None, "the server has ended"
                time.sleep(1)
        else:
            raise TimeoutError(address)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        ended = process.wait(120)
    assert ended in (0, 130), ended


def page(folder: Path) -> None:
    with served(shown("dragtext ui").split(), folder, 7870):
        pass


def client(folder: Path) -> None:
    with served(["dragtext", "ui", "--api", "--port", "7871"], folder, 7871) as address:
        script = Path(__file__).parent.parent.resolve() / "examples" / "http_client.py"
        subprocess.run([sys.executable, script, address], cwd=folder, check=True)
    assert (folder / "examples-out" / "http.png").stat().st_size


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    {"drag": drag, "page": page, "client": client}[sys.argv[2]](place)
