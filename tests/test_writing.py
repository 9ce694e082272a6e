"""What cannot be written: one sentence that names the file, nothing left behind, and no other output lost with it."""

from __future__ import annotations

import json

import pytest
import torch
from dragtext import sdk
from dragtext.sdk.errors import LONGEST
from dragtext.sdk.picture.animation import save_animation
from dragtext.sdk.picture.drawing import save_sweep
from dragtext.sdk.picture.files import check_writable, make_folder, save_image, write_atomically
from dragtext.sdk.result import Trace
from PIL import Image
from safetensors.torch import save_file

from .helpers import full_disk, noise

NOISE = noise(128, 128)


PICTURE = Image.fromarray(NOISE)
WRITERS = {
    "o.png": lambda path: save_image(PICTURE, path),
    "o.jpg": lambda path: save_image(PICTURE, path),
    "o.webp": lambda path: save_image(PICTURE, path),
    "o-sweep.png": lambda path: save_sweep(path, [PICTURE, PICTURE], ["a", "b"]),
    "o.gif": lambda path: save_animation(path, [(NOISE, 80), (NOISE[::-1].copy(), 80)]),
    "o.npz": lambda path: Trace(NOISE, NOISE, NOISE, NOISE).save(path),
    "o.safetensors": lambda path: write_atomically(path, lambda t: save_file({"noise": torch.from_numpy(NOISE)}, t)),
    "o.json": lambda path: write_atomically(path, lambda t: t.write_text(json.dumps(NOISE.tolist()))),
}


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_what_was_there(name, tmp_path):
    path = tmp_path / name
    path.write_text("of yesterday")
    with full_disk(4096), pytest.raises(sdk.InputError, match=r"cannot be written \(File too large\)") as caught:
        WRITERS[name](path)
    assert str(path) in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.read_text() == "of yesterday"


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_that_has_gone(name, tmp_path):
    with pytest.raises(sdk.InputError, match="cannot be written"):
        WRITERS[name](tmp_path / "gone" / name)


def test_a_picture_too_large_for_its_format(tmp_path):
    with pytest.raises(sdk.InputError, match=r"wide\.webp cannot be written"):
        save_image(Image.new("RGB", (17000, 64)), tmp_path / "wide.webp")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("check", [check_writable, make_folder])
def test_places_that_cannot_be(check, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(sdk.InputError, match="cannot be"):
        check(tmp_path / "file" / "o.png")
    with pytest.raises(sdk.InputError, match="cannot be"):
        check(tmp_path / "zero\0" / "o.png")


def test_a_fault_of_ours_is_not_taken_for_a_full_disk(tmp_path):
    with pytest.raises(TypeError):
        write_atomically(tmp_path / "o.json", lambda path: path.write_text(3))
    assert not list(tmp_path.iterdir())


def test_sentences_stay_short():
    text = str(sdk.InputError(f"The prompt is {'very ' * 300_000}long;\nmake it shorter."))
    assert len(text) <= LONGEST
    assert text.startswith("The prompt is very")
    assert text.endswith("make it shorter.")
    assert "\n" not in text
