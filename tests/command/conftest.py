"""The command line: in-process for the many bad inputs, its real entry point in subprocesses where that matters."""

from __future__ import annotations

import os
import signal
import sys

import pytest
from dragtext.sdk.command import app
from PIL import Image

from ..helpers import noise
from ..tiny import write_diffusers_folder

# Sums come out in another order on another number of threads, and a picture truncated to bytes shows it.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
ASCII = {**ONE_THREAD, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
FAST = ["--method", "dragdiffusion", "--steps", "3", "--lora-steps", "2", "--inference-steps", "8"]


@pytest.fixture(autouse=True)
def _hangup_is_not_ignored():
    """As if the tests were not begun under nohup, from which a child inherits that SIGHUP is ignored."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return str(write_diffusers_folder(tmp_path_factory.mktemp("model") / "tiny"))


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(noise()).save(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Call `main` with arguments; returns (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dragtext", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return call


def command(*arguments):
    """The real entry point, for `subprocess`."""
    return [sys.executable, "-m", "dragtext.sdk.command", *map(str, arguments)]
