"""The command line: its real entry point in subprocesses where that matters, in-process for the many bad inputs."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import subprocess
import sys
import time
import types
from importlib import import_module

import numpy as np
import pytest
from dragtext import sdk
from dragtext.extension.command import UI
from dragtext.sdk.command import app
from dragtext.sdk.command.stopping import interruptible
from dragtext.sdk.errors import InterruptedEditError
from dragtext.sdk.render.saved import open_result
from dragtext.sdk.run import EditRun
from dragtext.sdk.settings import as_dict, setting_names
from PIL import Image

from .helpers import full_disk, noise
from .tiny import write_diffusers_folder

# Sums come out in another order on another number of threads, and a picture truncated to bytes shows it.
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}
FAST = ["--method", "dragdiffusion", "--steps", "3", "--lora-steps", "2", "--inference-steps", "8"]

ALL_COMMANDS = {**app.COMMANDS, "ui": UI}


@pytest.fixture(autouse=True)
def _hangup_is_not_ignored():
    """As if the tests were not begun under nohup, from which a child inherits that SIGHUP is ignored."""
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="module")
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
    return [sys.executable, "-m", "dragtext.sdk.command", *map(str, arguments)]


def test_edit_from_start_to_finish(picture, model_folder, tmp_path, run):
    out, trace = tmp_path / "out.png", tmp_path / "trace.npz"
    mask = tmp_path / "mask.png"
    Image.fromarray(np.full((70, 93), 255, np.uint8)).save(mask)
    process = subprocess.run(
        command(
            "edit", picture, "--prompt", "a cat", "--drag", "20,20:60,50", "--drag", "70,30:50,30", "--mask", mask,
            "--model", model_folder, "-o", out, "--json", "--trace", trace, *FAST,
        ),
        capture_output=True, text=True, timeout=300, check=False, env=ONE_THREAD,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout)
    assert facts["output"] == str(out)
    assert facts["method"] == "dragdiffusion"
    assert facts["steps"] == 3
    assert facts["settings"]["steps"] == 3
    assert facts["settings"]["lr"] == 0.01
    assert [d["start"] for d in facts["drags"]] == [[20, 20], [70, 30]]
    assert facts["drags"][0]["distance_before"] == pytest.approx(50)
    assert facts["peak_memory_bytes"] > 0
    assert {"identity", "invert", "drag", "denoise"} <= set(facts["seconds"])
    assert "px left" in process.stderr
    with Image.open(out) as image:
        assert image.size == (93, 70)

    data = np.load(trace)
    assert data["handles"].shape == (3, 2, 2)
    assert data["loss"].shape == (3,)
    assert data["latent"].shape == (4, 4, 9, 12)
    assert data["text"].shape == (4, 77, 32)
    assert not np.array_equal(data["text"][0], data["text"][-1])

    # The saved picture carries the request; running it again gives the same picture.
    again = tmp_path / "again.png"
    code, stdout, stderr = run("edit", picture, "--request", out, "--model", model_folder, "-o", again, "-q")
    assert code == 0, stderr
    assert "Saved" in stdout
    assert np.array_equal(np.array(Image.open(out)), np.array(Image.open(again)))


def test_at_sweep_state_and_render(picture, model_folder, tmp_path, run):
    """Each of the pictures is there and is what the SDK renders."""
    out, state = tmp_path / "out.png", tmp_path / "state.safetensors"
    code, _, stderr = run(
        "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", out, "-q",
        "--at", "1.5,1", "--sweep", "0:2:3", "--save-state", state, *FAST,
    )  # fmt: skip
    assert code == 0, stderr
    saved = open_result(state, model_folder)
    assert np.array_equal(np.array(Image.open(out)), np.array(saved.at(1.5, 1)))
    with Image.open(tmp_path / "out-sweep.png") as strip:
        assert strip.width == 3 * 93 + 2 * 6
    with Image.open(tmp_path / "out-sweep.gif") as animation:
        assert animation.n_frames == 4
    again = tmp_path / "again.png"
    code, stdout, stderr = run("render", state, "--model", model_folder, "--at", "0.5", "-o", again, "-q")
    assert code == 0, stderr
    assert str(again) in stdout
    assert np.array_equal(np.array(Image.open(again)), np.array(saved.at(0.5)))


def test_sweep_command(picture, model_folder, tmp_path, run):
    code, stdout, stderr = run(
        "sweep", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", tmp_path / "grid", "-q",
        "--vary", "feature_block=1,3", *FAST,
    )  # fmt: skip
    assert code == 0, stderr
    assert stdout.count("px left") == 2
    names = {path.suffix for path in (tmp_path / "grid").iterdir()}
    assert names == {".csv", ".json", ".png"}


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


def test_a_side_file_that_fails_costs_neither_the_picture_nor_the_others(picture, model_folder, tmp_path, run):
    out, state, trace = tmp_path / "out.png", tmp_path / "state.safetensors", tmp_path / "trace.npz"
    arguments = [
        "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-o", out, "-q", "--sweep", "0:1:3",
        "--save-state", state, "--trace", trace, *FAST,
    ]  # fmt: skip
    with full_disk(30_000):  # the picture takes 20 kB
        code, stdout, stderr = run(*arguments)
    assert code == 2
    assert f"Saved {out}" in stdout
    with Image.open(out) as image:
        image.load()
    errors = [line for line in stderr.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 3
    for path in (state, trace, tmp_path / "out-sweep.png"):
        assert sum(f"{path} cannot be written" in line for line in errors) == 1
        assert not path.exists()
    assert "report it" not in stderr
    assert not list(tmp_path.glob(".dragtext-*"))


def test_a_picture_that_fails_does_not_cost_the_state(picture, model_folder, tmp_path, run, monkeypatch):
    """With the state on another disk, all is saved by `dragtext render`."""
    from dragtext.sdk.picture import files

    def fails(*_arguments):
        raise sdk.InputError("The output cannot be written (No space left on device).")

    monkeypatch.setattr(files, "save_image", fails)
    state = tmp_path / "state.safetensors"
    code, stdout, stderr = run(
        "edit", picture, "--drag", "20,20:60,50", "--model", model_folder, "-q", "--save-state", state, *FAST
    )
    assert code == 2
    assert stdout == ""
    assert "No space left" in stderr
    assert state.exists()


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


BAD = {
    "missing image": (["edit", "{dir}/none.png", "--drag", "1,1:9,9"], "does not exist"),
    "not an image": (["edit", "{dir}/text.png", "--drag", "1,1:9,9"], "not a picture"),
    "truncated image": (["edit", "{dir}/cut.png", "--drag", "1,1:9,9"], "cannot be read"),
    "folder": (["edit", "{dir}", "--drag", "1,1:9,9"], "is a folder"),
    "small image": (["edit", "{dir}/small.png", "--drag", "1,1:9,9"], "at least 64"),
    "huge image": (["edit", "{dir}/huge.png", "--drag", "1,1:9,9"], "resize it"),
    "no drags": (["edit", "{image}"], "no drags"),
    "drag syntax": (["edit", "{image}", "--drag", "1,1-9,9"], "x0,y0:x1,y1"),
    "handle outside": (["edit", "{image}", "--drag", "500,1:9,9"], "outside the image"),
    "target outside": (["edit", "{image}", "--drag", "1,1:9,-3"], "outside the image"),
    "equal points": (["edit", "{image}", "--drag", "9,9:9,9"], "move the target"),
    "nan point": (["edit", "{image}", "--drag", "nan,9:9,9"], "not finite"),
    "mask size": (["edit", "{image}", "--drag", "1,1:9,9", "--mask", "{dir}/small.png"], "same size"),
    "mask empty": (["edit", "{image}", "--drag", "1,1:9,9", "--mask", "{dir}/black.png"], "mask is empty"),
    "mask missing": (["edit", "{image}", "--drag", "1,1:9,9", "--mask", "{dir}/none.png"], "does not exist"),
    "setting range": (["edit", "{image}", "--drag", "1,1:9,9", "--lr", "-1"], "'lr'"),
    "setting nan": (["edit", "{image}", "--drag", "1,1:9,9", "--lr", "nan"], "finite"),
    "method": (["edit", "{image}", "--drag", "1,1:9,9", "--method", "magic"], "Unknown method"),
    "output suffix": (["edit", "{image}", "--drag", "1,1:9,9", "-o", "{dir}/o.txt"], "must end in"),
    "output folder": (["edit", "{image}", "--drag", "1,1:9,9", "-o", "{dir}/no/o.png"], "cannot be written"),
    "trace folder": (["edit", "{image}", "--drag", "1,1:9,9", "--trace", "{dir}/no/t.npz"], "cannot be written"),
    "at syntax": (["edit", "{image}", "--drag", "1,1:9,9", "--at", "much"], "V,TEXT"),
    "at range": (["edit", "{image}", "--drag", "1,1:9,9", "--at", "1e6"], "between"),
    "sweep syntax": (["edit", "{image}", "--drag", "1,1:9,9", "--sweep", "0:2"], "START:STOP:COUNT"),
    "sweep count": (["edit", "{image}", "--drag", "1,1:9,9", "--sweep", "0:2:1"], "2 to 100"),
    "state suffix": (["edit", "{image}", "--drag", "1,1:9,9", "--save-state", "{dir}/s.bin"], "must end in"),
    "state missing": (["render", "{dir}/none.safetensors"], "does not exist"),
    "state foreign": (["render", "{dir}/text.png", "-o", "{dir}/o.png"], "damaged"),
    "nothing varies": (["sweep", "{image}", "--drag", "1,1:9,9"], "--vary"),
    "vary unknown": (["sweep", "{image}", "--drag", "1,1:9,9", "--vary", "speed=1"], "no setting 'speed'"),
    "vary range": (["sweep", "{image}", "--drag", "1,1:9,9", "--vary", "lr=-1"], "'lr'"),
    "resolution": (["edit", "{image}", "--drag", "1,1:9,9", "--resolution", "9"], "'resolution'"),
    "trace is output": (["edit", "{image}", "--drag", "1,1:9,9", "-o", "{image}", "--trace", "{image}"], "same"),
    "request syntax": (["edit", "{image}", "--request", "{dir}/broken.json"], "not valid JSON"),
    "request setting": (["edit", "{image}", "--request", "{dir}/unknown.json"], "Unknown setting"),
    "request field": (["edit", "{image}", "--request", "{dir}/field.json"], "Unknown request field"),
    "request png": (["edit", "{image}", "--request", "{dir}/black.png"], "no DragText request"),
    "model missing": (["edit", "{image}", "--drag", "1,1:9,9", "--model", "{dir}/no"], "no"),
    "model pickle": (["edit", "{image}", "--drag", "1,1:9,9", "--model", "{dir}/m.ckpt"], "pickle"),
    "device": (["edit", "{image}", "--drag", "1,1:9,9", "--device", "abacus"], "device"),
    "jpeg alpha": (["edit", "{dir}/alpha.png", "--drag", "1,1:9,9", "-o", "{dir}/o.jpg"], "transparency"),
    "demo seed": (["demo", "--seed", "-1"], "negative"),
}


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    Image.fromarray(noise()).save(folder / "in.png")
    Image.new("RGB", (20, 20)).save(folder / "small.png")
    Image.new("L", (93, 70)).save(folder / "black.png")
    Image.new("1", (8001, 8001)).save(folder / "huge.png")
    Image.new("RGBA", (93, 70)).save(folder / "alpha.png")
    (folder / "text.png").write_bytes(b"hello")
    (folder / "cut.png").write_bytes((folder / "in.png").read_bytes()[:2000])
    (folder / "m.ckpt").write_bytes(b"\x80\x04K\x01.")
    (folder / "broken.json").write_bytes(b"{")
    (folder / "unknown.json").write_bytes(b'{"drags": [[[1,1],[9,9]]], "settings": {"speed": 3}}')
    (folder / "field.json").write_bytes(b'{"dragz": []}')
    return folder


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_writes_nothing(name, bad_files, run):
    before = sorted(p.name for p in bad_files.rglob("*"))
    arguments, expected = BAD[name]
    code, stdout, stderr = run(*(a.format(dir=bad_files, image=bad_files / "in.png") for a in arguments))
    assert code == 2
    assert stdout == ""
    assert expected in stderr
    assert stderr.startswith("Error: ")
    assert len(stderr.strip().splitlines()) == 1
    assert sorted(p.name for p in bad_files.rglob("*")) == before


def test_out_of_memory_has_its_own_code(picture, run, monkeypatch):
    def full(*_arguments, **_options):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr("dragtext.sdk.model.load.load_model", full)
    code, _, stderr = run("edit", picture, "--drag", "1,1:9,9")
    assert code == 3
    assert "smaller image" in stderr
    assert not picture.with_name("in-dragged.png").exists()


# A value other than the default for every setting; a new setting without one here fails the test below.
OTHER_VALUES = {
    "method": "dragdiffusion", "text": False, "gradients": "paper", "steps": 7, "lr": 0.5, "text_lr": 0.25,
    "text_weight": 0.5, "mask_weight": 0.75, "strength": 0.5, "inference_steps": 9, "feature_block": 2,
    "supervision_radius": 2, "tracking_radius": 4, "reach_distance": 1.5, "shared_attention": False,
    "shared_attention_stages": 3, "shared_attention_start": 1, "lora_steps": 0, "lora_lr": 0.125, "lora_rank": 8,
    "lora_batch": 2, "seed": 9, "resolution": 128, "crop": "auto", "displacement": 2.5, "expected_loss": 0.75,
    "inner_steps": 4, "drag_levels": 3, "tracks_per_level": 2, "steps_per_track": 4, "patience": 6, "composite": False,
    "start": "cells", "seam": 6.5, "start_noise": 0.25, "repaint": "revealed",
}  # fmt: skip


@pytest.mark.parametrize("way", ["flags", "request file"])
def test_every_setting_has_a_flag_and_a_place_in_the_request_file(way, picture, tmp_path, run, monkeypatch):
    assert set(OTHER_VALUES) == set(setting_names())
    asked = []

    class Stop(Exception):
        """Ends the edit where the settings arrive."""

    class Editor:
        def __init__(self, *_arguments):
            pass

        def drag(self, _drags, *, settings, **_others):
            asked.append(settings)
            raise Stop

    monkeypatch.setattr("dragtext.sdk.model.load.load_model", lambda *_arguments, **_options: None)
    monkeypatch.setattr("dragtext.sdk.editor.Editor", Editor)
    if way == "flags":
        arguments = ["--drag", "1,1:9,9"]
        for name, value in OTHER_VALUES.items():
            flag = name.replace("_", "-")
            arguments += [f"--no-{flag}"] if value is False else [f"--{flag}", value]
    else:
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"drags": [[[1, 1], [9, 9]]], "settings": OTHER_VALUES}))
        arguments = ["--request", path]
    code, _, stderr = run("edit", picture, *arguments)
    assert code == 1
    assert "please report it" in stderr
    assert [as_dict(settings) for settings in asked] == [OTHER_VALUES]


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


def test_version(run):
    code, stdout, _ = run("--version")
    assert code == 0
    assert stdout.startswith("dragtext ")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["info", "--help"], ["ui", "--help"]])
def test_help_and_version_do_not_wait_for_torch(arguments):
    code = (
        "import sys\n"
        "sys.argv[0] = 'dragtext'\n"
        "from dragtext.extension.command import main\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', *(m for m in ('torch', 'diffusers', 'gradio') if m in sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert "LOADED\n" in process.stdout
    assert "dragtext" in process.stdout + process.stderr  # and something was shown


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name, run):
    """The list is written down apart from the commands, so that it needs none of them."""
    home = ALL_COMMANDS[name]
    function = getattr(import_module(home.module), home.function)
    assert inspect.getdoc(function) == home.summary


def test_what_stands_in_brackets_is_shown(run):
    _, stdout, _ = run("edit", "--help")
    assert "[cuda if there is one]" in " ".join(stdout.split())


def test_info(run):
    code, stdout, _ = run("info", "--json")
    assert code == 0
    facts = json.loads(stdout)
    assert facts["torch"].startswith("2.")
    assert "bytes" in facts["cache"]


def test_info_for_people(run):
    _, stdout, _ = run("info")
    for name in ("dragtext", "python", "system", "torch", "gradio", "fastapi", "typer", "pydantic", "cuda"):
        assert f"{name}  " in stdout


@pytest.mark.parametrize("failure", ["raise ImportError('libtorch is gone')", "raise OSError('libtorch is gone')"])
def test_a_broken_torch_is_a_sentence_and_info_still_says_what_is_there(failure, picture, tmp_path):
    write_module = tmp_path / "broken" / "torch" / "__init__.py"
    write_module.parent.mkdir(parents=True)
    write_module.write_text(failure)
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    options = {"capture_output": True, "text": True, "check": False, "env": {**os.environ, "PYTHONPATH": path}}
    process = subprocess.run(command("info", "--json"), **options)
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout)
    assert "cannot be used: libtorch is gone" in facts["torch"]
    assert facts["python"]
    process = subprocess.run(command("edit", picture, "--drag", "1,1:9,9"), **options)
    assert process.returncode == 2
    assert process.stderr.startswith("Error: A package that DragText needs cannot be loaded (libtorch is gone)")
    assert len(process.stderr.splitlines()) == 1


def test_no_signature_needs_a_new_typer():
    """typer before 0.12.4 does not know `str | None`."""
    for home in ALL_COMMANDS.values():
        function = getattr(import_module(home.module), home.function)
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            kind = getattr(parameter.annotation, "__origin__", parameter.annotation)  # without Annotated's extras
            if sys.version_info < (3, 14):  # from there on the two are one
                assert not isinstance(kind, types.UnionType), f"{home.function} {parameter.name}"


ASCII = {**ONE_THREAD, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


@pytest.mark.parametrize("arguments", [["--help"], ["edit", "--help"], ["info"]])
def test_help_where_only_ascii_is_known(arguments):
    process = subprocess.run(command(*arguments), capture_output=True, check=False, env=ASCII)
    assert process.returncode == 0, process.stderr
    assert process.stdout.isascii()
    assert process.stderr == b""


@pytest.mark.skipif(sys.platform != "linux", reason="file names of any bytes")
def test_names_and_prompts_that_the_terminal_does_not_know(picture, model_folder, tmp_path, run):
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9 \xe7\x8c\xab.png")  # noqa: PTH118 (bytes)
    with open(odd, "wb") as file:  # noqa: PTH123
        file.write(picture.read_bytes())
    made = [odd[:-4] + b"-dragged.png", odd[:-4] + b".safetensors"]
    arguments = [
        odd, "--prompt", b"caf\xe9 red", "--drag", "20,20:60,50", "--model", model_folder, "-q", "--save-state",
        made[1], *FAST,
    ]  # fmt: skip
    process = subprocess.run([*command("edit"), *arguments], capture_output=True, timeout=300, check=False, env=ASCII)
    assert process.returncode == 0, process.stderr
    assert process.stdout.isascii()
    assert b"Warning: The prompt is not in UTF-8" in process.stderr
    assert len(process.stderr.splitlines()) == 1
    for path in made:
        os.remove(path)  # noqa: PTH107
    # Python decodes arguments like this where the terminal knows UTF-8.
    code, stdout, stderr = run("edit", *map(os.fsdecode, arguments), "--json")
    assert code == 0, stderr
    assert stdout.isascii()
    assert [line.partition(";")[0] for line in stderr.splitlines()] == ["Warning: The prompt is not in UTF-8"]
    assert all(map(os.path.exists, made))
    facts = json.loads(stdout)
    assert os.fsencode(facts["output"]) == odd[:-4] + b"-dragged.png"
    assert facts["prompt"] == "caf\N{REPLACEMENT CHARACTER} red"


def test_a_prompt_in_utf_8_is_read_where_only_ascii_is_known():
    from dragtext.sdk.command.arguments import _as_text

    assert _as_text("café 猫") == "café 猫"
    assert _as_text(os.fsdecode("café".encode("latin1"))) == "caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("name", ["dragtext", "dragtext.sdk.model"])
def test_warnings_of_ours_are_lines_on_stderr(name, run, monkeypatch):
    """Also under -q, and only while the command runs: a program's own logging is left alone."""
    from dragtext.sdk.command import information

    def warns():
        logging.getLogger(name).warning("Something is\nodd: %d.", 3)
        logging.getLogger(name).info("nothing to see")
        return {}

    monkeypatch.setattr(information, "collect", warns)
    code, _, stderr = run("info")
    assert code == 0
    assert stderr == "Warning: Something is odd: 3.\n"
    assert logging.getLogger("dragtext").propagate
    assert not logging.getLogger("dragtext").handlers


def test_a_long_prompt_does_not_flood_an_error(picture, run):
    code, _, stderr = run("edit", picture, "--drag", "1" * 100_000)
    assert code == 2
    assert len(stderr) < 1000
    assert stderr.endswith("for example 120,80:180,80.\n")
