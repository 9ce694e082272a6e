"""Requests as benchmarks have them, there and back."""

from __future__ import annotations

import io
import json
import pickle
import zipfile

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.exports import drag100, dragbench
from dragtext.sdk.picture.masks import load_mask, mask_to_uri
from dragtext.sdk.picture.requests import parse_request, read_request
from dragtext.sdk.request import Request, make_drags
from PIL import Image

PICTURE = np.random.default_rng(0).integers(0, 255, (96, 80, 3), dtype=np.uint8)
MASK = np.zeros((96, 80), bool)
MASK[10:50, 20:60] = True
DRAGS = make_drags([((20, 30), (50, 30)), ((40.5, 20), (41.25, 44))])
ASKED = Request(DRAGS, "a café", mask_to_uri(MASK))


def files(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_dragbench_there_and_back(tmp_path):
    found = files(dragbench(PICTURE, ASKED, "one"))
    assert set(found) == {f"dragtext/one/{name}" for name in ("original_image.png", "user_drag.png", "meta_data.pkl")}
    assert np.array_equal(np.array(Image.open(io.BytesIO(found["dragtext/one/original_image.png"]))), PICTURE)
    data = found["dragtext/one/meta_data.pkl"]
    # As the published code reads it, which runs on numpy 1.
    content = pickle.loads(data)
    assert b"numpy._core" not in data
    assert (set(content), content["prompt"]) == ({"prompt", "points", "mask"}, "a café")
    assert content["points"] == [[20, 30], [50, 30], [40.5, 20], [41.25, 44]]
    assert (content["mask"].dtype, content["mask"].shape) == (np.uint8, (96, 80))
    assert np.array_equal(content["mask"] == 255, MASK)
    # And as ours does, which runs nothing.
    (tmp_path / "meta_data.pkl").write_bytes(data)
    again = read_request(tmp_path / "meta_data.pkl")
    assert (again.drags, again.prompt) == (DRAGS, "a café")
    assert np.array_equal(load_mask(again.mask, MASK.shape), MASK)


def test_drag100_there_and_back(tmp_path):
    found = files(drag100(PICTURE, ASKED, "one"))
    assert set(found) == {"one/original.jpg", "one/mask.png", "one/points.json"}
    photo = Image.open(io.BytesIO(found["one/original.jpg"]))
    assert (photo.format, photo.size) == ("JPEG", (80, 96))
    mask = np.array(Image.open(io.BytesIO(found["one/mask.png"])))
    assert np.array_equal(mask == 255, MASK)
    assert json.loads(found["one/points.json"]) == {"points": [[20, 30], [50, 30], [40.5, 20], [41.25, 44]]}
    (tmp_path / "points.json").write_bytes(found["one/points.json"])
    assert read_request(tmp_path / "points.json").drags == DRAGS


def test_without_a_mask_it_follows_from_the_region_or_is_everything():
    everything = files(drag100(PICTURE, Request(DRAGS), "one"))["one/mask.png"]
    assert (np.array(Image.open(io.BytesIO(everything))) == 255).all()
    followed = files(drag100(PICTURE, Request(DRAGS, region=mask_to_uri(MASK)), "one"))["one/mask.png"]
    mask = np.array(Image.open(io.BytesIO(followed))) == 255
    assert mask[MASK].all()
    assert not mask.all()


def test_masks_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="same size"):
        dragbench(PICTURE[:80], ASKED, "one")


def test_equal_requests_give_equal_files():
    assert dragbench(PICTURE, ASKED, "one") == dragbench(PICTURE, ASKED, "one")


def test_of_several_requests_one_is_chosen_and_all_are_counted(tmp_path):
    lines = "\n".join(json.dumps({"drags": [[[k, 2], [30, 40]]]}) for k in range(3)).encode()
    request, count = parse_request(lines, tmp_path / "many.jsonl", 2)
    assert (request.drags[0].source, count) == ((1, 2), 3)
