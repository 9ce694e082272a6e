"""What is given to a command: every setting, bad input in one sentence, names that a terminal does not know."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from dragtext.sdk.settings import as_dict, setting_names
from PIL import Image

from ..helpers import noise
from .conftest import ASCII, FAST, command

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
    "start": "cells", "memory": "lean", "seam": 6.5, "start_noise": 0.25, "repaint": "revealed",
    "hold_background": True, "guidance": 1.5, "guidance_schedule": "ramp", "feature_guidance": 2.0,
    "negative_prompt": "blurry, bad", "identity": "published", "capture": True,
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
            arguments += [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", value]
    else:
        path = tmp_path / "request.json"
        path.write_text(json.dumps({"drags": [[[1, 1], [9, 9]]], "settings": OTHER_VALUES}))
        arguments = ["--request", path]
    code, _, stderr = run("edit", picture, *arguments)
    assert code == 1
    assert "please report it" in stderr
    assert [as_dict(settings) for settings in asked] == [OTHER_VALUES]


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


def test_a_long_prompt_does_not_flood_an_error(picture, run):
    code, _, stderr = run("edit", picture, "--drag", "1" * 100_000)
    assert code == 2
    assert len(stderr) < 1000
    assert stderr.endswith("for example 120,80:180,80.\n")
