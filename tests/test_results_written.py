"""What an edit writes, on a disk that is full: one sentence with the file's name, and nothing half-written."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext import sdk

from .helpers import full_disk, noise

FAST = {"method": "dragdiffusion", "steps": 1, "lora_steps": 0, "inference_steps": 4}


@pytest.fixture(scope="module")
def result(model):
    picture = noise()
    return sdk.Editor(model, picture).drag([((20, 20), (60, 50))], **FAST, trace=True)


WRITERS = {
    "picture.png": lambda result, path: result.save(path),
    "picture.jpg": lambda result, path: result.save(path),
    "picture.webp": lambda result, path: result.save(path),
    "state.safetensors": lambda result, path: result.save_state(path),
    "trace.npz": lambda result, path: result.trace.save(path),
}


@pytest.mark.parametrize("old", [False, True], ids=["new", "over an old one"])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_sentence_and_leaves_nothing(result, tmp_path, name, old):
    path = tmp_path / name
    if old:
        path.write_bytes(b"old")
    with full_disk(), pytest.raises(sdk.InputError) as caught:
        WRITERS[name](result, path)
    text = str(caught.value)
    assert name in text
    assert "cannot be written" in text
    assert "\n" not in text
    assert [p.name for p in tmp_path.iterdir()] == ([name] if old else [])
    assert not old or path.read_bytes() == b"old"
    WRITERS[name](result, path)
    assert path.stat().st_size > 1000


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("problem", ["no such folder", "a folder of this name"])
def test_a_place_that_cannot_be_written_is_one_sentence(result, tmp_path, name, problem):
    path = tmp_path / "below" / name
    if problem == "a folder of this name":
        path.mkdir(parents=True)
    with pytest.raises(sdk.InputError, match="below") as caught:
        WRITERS[name](result, path)
    assert "\n" not in str(caught.value)
    assert problem == "no such folder" or [p.name for p in path.parent.iterdir()] == [name]


def test_the_trace_reads_back(result, tmp_path):
    result.trace.save(tmp_path / "trace.npz")
    with np.load(tmp_path / "trace.npz") as arrays:
        assert np.array_equal(arrays["latent"], result.trace.latent)
        assert set(arrays) == {"handles", "loss", "latent", "text"}
