"""How a command ends early: signals, readers who leave, a full disk."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest
from dragtext.sdk.command.stopping import interruptible
from dragtext.sdk.errors import InterruptedEditError
from dragtext.sdk.run import EditRun

from .conftest import command


def test_ctrl_c_keeps_the_best_so_far(picture, model_folder, tmp_path):
    out = tmp_path / "out.png"
    process = subprocess.Popen(
        command(
            "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", out, "--json", "--sweep", "0:1:2",
            "--method", "dragdiffusion", "--steps", "2000", "--lora-steps", "0", "--inference-steps", "8",
            "--lr", "1e-6",
        ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    seen = ""
    deadline = time.monotonic() + 300
    while "dragging" not in seen and time.monotonic() < deadline:
        seen += process.stderr.read(1)
    assert "dragging" in seen, seen
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == 130, stderr
    assert "kept" in stderr
    facts = json.loads(stdout)
    assert facts["stopped"] == "interrupted"
    assert 0 < facts["steps"] < 2000
    assert out.exists()
    assert not (tmp_path / "out-sweep.png").exists()  # who stops does not wait for more pictures


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_other_signals_keep_it_too(name, code, picture, model_folder, tmp_path, run, monkeypatch):
    """Sent to this process at the third step."""
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip("Windows has no such signal")
    advance = EditRun.__next__

    def advance_until_the_signal(self):
        progress = advance(self)
        if (progress.phase, progress.done) == ("drag", 3):
            signal.raise_signal(number)
        return progress

    monkeypatch.setattr(EditRun, "__next__", advance_until_the_signal)
    before = signal.signal(number, lambda *_: None)  # a signal that nobody handles must not end the tests
    try:
        status, stdout, stderr = run(
            "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", tmp_path / "out.png", "--json",
            "--method", "dragdiffusion", "--steps", "9", "--lora-steps", "0", "--inference-steps", "4", "--lr", "1e-6",
        )  # fmt: skip
    finally:
        signal.signal(number, before)
    assert status == code, stderr
    assert "kept" in stderr
    facts = json.loads(stdout)
    assert (facts["stopped"], facts["steps"]) == ("interrupted", 3)
    assert (tmp_path / "out.png").exists()


def test_a_signal_that_is_ignored_stays_so():
    if not hasattr(signal, "SIGHUP"):
        pytest.skip("Windows has no SIGHUP")
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        with interruptible() as stop:
            signal.raise_signal(signal.SIGHUP)
            assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_readers_who_leave_are_no_failure(picture, model_folder, tmp_path):
    """stdout and stderr into a pipe that nobody reads, as with `| head`: the picture is made all the same."""
    # Buffered, as everywhere: what is held back must not fail when Python ends.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    out = tmp_path / "out.png"
    process = subprocess.run(
        command(
            "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", out, "--method", "dragdiffusion",
            "--steps", "1", "--lora-steps", "0", "--inference-steps", "4",
        ),
        stdout=writing, stderr=writing, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert process.returncode == 0
    assert out.exists()
    process = subprocess.run(command("info"), stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert process.returncode == 0
    assert process.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")  # noqa: PTH110
def test_a_report_that_cannot_be_written_is_one_sentence():
    with open("/dev/full", "w") as full:  # noqa: PTH123
        process = subprocess.run(command("info"), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert process.returncode == 2
    assert process.stderr.splitlines() == ["Error: The report cannot be written to stdout (No space left on device)."]


def test_the_second_ctrl_c_ends_at_once_and_gives_the_handler_back():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def press_twice():
        with interruptible() as should_stop:
            seen.append(should_stop())
            signal.raise_signal(signal.SIGINT)
            seen.append(should_stop())
            signal.raise_signal(signal.SIGINT)
            seen.append("went on")

    with pytest.raises(InterruptedEditError, match="was dropped") as caught:
        press_twice()
    assert seen == [False, True]
    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_each_signal_has_its_exit_code(name, code):
    if not hasattr(signal, name):
        pytest.skip("Windows has no such signal")

    def stops():
        with interruptible() as stop:
            signal.raise_signal(getattr(signal, name))
            assert stop()
            raise InterruptedEditError("The grid was stopped.")

    with pytest.raises(InterruptedEditError) as caught:
        stops()
    assert caught.value.exit_code == code
    assert InterruptedEditError.exit_code == 130


def test_ctrl_c_outside_an_edit_is_one_line(run, monkeypatch):
    from dragtext.sdk.command import information

    def interrupts():
        raise KeyboardInterrupt

    monkeypatch.setattr(information, "collect", interrupts)
    code, stdout, stderr = run("info")
    assert (code, stdout, stderr) == (130, "", "Error: Interrupted before anything was written.\n")
