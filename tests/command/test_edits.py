"""Edits, sweeps and states by command, and files that cannot be written."""

from __future__ import annotations

import json
import subprocess

import numpy as np
import pytest
from dragtext import sdk
from dragtext.sdk.render.saved import open_result
from PIL import Image

from ..helpers import full_disk
from .conftest import FAST, ONE_THREAD, command


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
    names = {path.name for path in (tmp_path / "grid").iterdir()}
    assert names == {"manifest.json", "rows.jsonl", "claims", "pictures", "table.csv", "table.json", "contact.png"}


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
