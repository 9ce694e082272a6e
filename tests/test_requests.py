"""Requests in files: what benchmarks and other tools write is read, and a pickle runs nothing."""

from __future__ import annotations

import base64
import json
import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.masks import load_mask
from dragtext.sdk.picture.pickles import read_pickle
from dragtext.sdk.picture.requests import read_request
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import as_dict, make_settings, setting_names, with_recommended
from PIL import Image

FLAT = [[42, 64], [70, 64], [10, 12], [20, 30]]
DRAGS = make_drags(FLAT)
MASK = np.zeros((48, 64), np.uint8)
MASK[10:30, 20:50] = 255


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("points", [FLAT, np.array(FLAT), [np.array(p) for p in FLAT], [tuple(p) for p in FLAT]])
def test_dragbench(points, protocol, tmp_path):
    content = {"prompt": "a café", "points": points, "mask": MASK}
    request = read_request(write(tmp_path / "meta_data.pkl", pickle.dumps(content, protocol)))
    assert request.drags == DRAGS
    assert request.prompt == "a café"
    assert np.array_equal(load_mask(request.mask, MASK.shape), MASK > 0)


@pytest.mark.parametrize("kind", ["u1", "?", "<i4", ">i2", "<f8", "f2"])
@pytest.mark.parametrize("layout", ["C", "F", "sliced"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back_as_they_were(kind, layout, protocol):
    array = np.arange(60).reshape(5, 4, 3).astype(kind)
    array = array[:, ::2] if layout == "sliced" else np.array(array, order=layout)
    again = read_pickle(pickle.dumps([array, array[1, 1, 1]], protocol), "x.pkl")
    assert np.array_equal(again[0], array)
    assert again[0].dtype == array.dtype
    assert again[1] == array[1, 1, 1]


def test_both_of_numpys_names():
    """numpy 1 writes numpy.core, numpy 2 numpy._core; each has to be read under the other."""
    data = pickle.dumps(MASK, 2)
    for ours, others in ((b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")):
        assert np.array_equal(read_pickle(data.replace(ours, others), "x.pkl"), MASK)


class Runs:
    """Pickled, it is a program."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "make",
    [
        lambda path: Runs(os.system, f"touch {path}"),
        lambda path: Runs(eval, f"open({str(path)!r}, 'w')"),
        lambda path: Runs(Path, str(path)),
        lambda path: Runs(np.memmap, str(path), "uint8", "w+", 0, (9,)),
        lambda path: np.array([Runs(os.system, f"touch {path}")], dtype=object),
    ],
)
def test_a_pickle_runs_nothing(make, protocol, tmp_path):
    path = tmp_path / "made by the pickle"
    content = {"prompt": "", "points": FLAT, "mask": make(path)}
    write(tmp_path / "meta_data.pkl", pickle.dumps(content, protocol))
    with pytest.raises(InputError, match=r"pickle can run any program|none of numbers") as caught:
        read_request(tmp_path / "meta_data.pkl")
    assert "\n" not in str(caught.value)
    assert not path.exists()


# Programs that no `pickle.dumps` writes.
CRAFTED = {
    "sets an attribute of a function": b"cnumpy.core.multiarray\n_reconstruct\n(N}S'_make'\nNstb.",
    "makes the class of another": b"\x80\x02cnumpy\nndarray\n)\x81.",
    "calls text": b"\x80\x02X\x01\x00\x00\x00a)R.",
    "builds an extension": b"\x80\x02\x82\x01.",
    "persistent": b"Pfile\n.",
    "array beyond its data": pickle.dumps(MASK, 2).replace(b"K0K@\x86", b"K\xffK@\x86"),
    "contains itself": b"]q\x00h\x00a.",
    "nothing": b"",
    "cut": pickle.dumps({"points": FLAT, "mask": MASK})[:-300],
    "huge size": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "a set": pickle.dumps({1, 2}),
    "bytes": pickle.dumps(b"abc"),
}


@pytest.mark.parametrize("name", CRAFTED)
def test_crafted_pickles_are_one_sentence(name, tmp_path):
    path = write(tmp_path / "meta_data.pkl", CRAFTED[name])
    for _ in range(2):  # and leave nothing behind that the next one meets
        with pytest.raises(InputError) as caught:
            read_request(path)
        assert "\n" not in str(caught.value)
    good = write(tmp_path / "good.pkl", pickle.dumps({"points": FLAT, "mask": MASK}))
    assert read_request(good).drags == DRAGS


def test_lists_that_unfold_without_end():
    """2 ** 60 points in 200 bytes."""
    content = []
    for _ in range(60):
        content = [content, content]
    with pytest.raises(InputError, match="more than a request"):
        read_pickle(pickle.dumps(content), "x.pkl")


FORMS = {
    "Drag100": {"points": FLAT},
    "drag_instruction": {"prompt": "a cat", "points": FLAT},
    "flat list": FLAT,
    "pairs": [FLAT[:2], FLAT[2:]],
    "objects": [{"source": FLAT[0], "target": FLAT[1]}, {"handle": FLAT[2], "target": FLAT[3]}],
    "handle_points": {"handle_points": FLAT[::2], "target_points": FLAT[1::2], "image": "cat.png"},
    "handles": {"handles": FLAT[::2], "targets": FLAT[1::2]},
    "points of two lists": {"seed": 3, "points": {"handle": FLAT[::2], "target": FLAT[1::2]}},
    "ours": {"drags": FLAT},
    "ours in two lists": {"source_points": FLAT[::2], "target_points": FLAT[1::2]},
}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_other_tools_files(name, encoding, tmp_path):
    path = write(tmp_path / "request.json", json.dumps(FORMS[name]).encode(encoding))
    assert read_request(path).drags == DRAGS


def test_one_point_as_such(tmp_path):
    path = write(tmp_path / "request.json", json.dumps({"points": {"handle": FLAT[0], "target": FLAT[1]}}))
    assert read_request(path).drags == DRAGS[:1]


def test_what_is_not_used_is_said_for_others_and_refused_in_ours(tmp_path, caplog):
    path = write(tmp_path / "request.json", json.dumps({"points": FLAT, "image": "cat.png", "lr": 3}))
    read_request(path)
    assert "image, lr" in caplog.text
    write(path, json.dumps({"drags": FLAT, "lr": 3}))
    with pytest.raises(InputError, match="Unknown request field 'lr'"):
        read_request(path)


def test_masks_in_requests(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "mask.png")
    uri = "data:image/png;base64," + base64.b64encode((tmp_path / "mask.png").read_bytes()).decode()
    for mask in (
        "mask.png",
        str(tmp_path / "mask.png"),
        uri,
        MASK.tolist(),
        [[[v, v, v] for v in row] for row in MASK.tolist()],
    ):
        request = read_request(write(tmp_path / "request.json", json.dumps({"points": FLAT, "mask": mask})))
        assert np.array_equal(load_mask(request.mask, MASK.shape), MASK > 0)
    for mask in (5, [[1, 2], [3]], [], [["a"]]):
        write(tmp_path / "request.json", json.dumps({"points": FLAT, "mask": mask}))
        with pytest.raises(InputError, match="mask"):
            read_request(tmp_path / "request.json")


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_json_lines(end, tmp_path):
    lines = [json.dumps({"points": FLAT, "prompt": f"number {n}"}) for n in (1, 2, 3)]
    path = write(tmp_path / "requests.jsonl", "\n".join(lines) + end)
    assert read_request(f"{path}#2").prompt == "number 2"
    for wrong in (path, f"{path}#0", f"{path}#4"):
        with pytest.raises(InputError, match=r"3 requests; give one from .*#1 to .*#3"):
            read_request(wrong)
    write(path, lines[0] + end)
    assert read_request(path).prompt == "number 1"
    write(path, json.dumps([json.loads(line) for line in lines]))  # a list of them is the same
    assert read_request(f"{path}#3").prompt == "number 3"
    odd = write(tmp_path / "odd#2", lines[1])  # a file of that name
    assert read_request(odd).prompt == "number 2"


JUNK = {
    "JPEG": (b"\xff\xd8\xff\xe0\x00\x10JFIF", "JPEG picture"),
    "WebP": (b"RIFF\x00\x00\x00\x00WEBP", "WebP picture"),
    "binary": (bytes(range(129, 256)), "no text"),
    "latin-1": (b'{"prompt": "\xe9"}', "no text"),
    "half a character": (b'{"drags": [[[1, 1], [9, 9]]], "prompt": "\\ud83d"}', "half a character"),
    "no lines either": (b'{"drags": 1}\n{"drags"', "not valid JSON"),
    "number": (b"3", "JSON object"),
    "true as a coordinate": (b'{"points": [[true, 1], [9, 9]]}', "point"),
    "beyond a float": (b'{"points": [[1' + b"0" * 400 + b", 1], [9, 9]]}", "not finite"),
    "odd": (b'{"points": [[1, 1], [9, 9], [3, 3]]}', "even number"),
    "lists of different length": (b'{"handle_points": [[1, 1]], "target_points": []}', "pair up"),
    "empty": (b"", "not valid JSON"),
    "no drags": (b"[]", "no drags"),
}


@pytest.mark.parametrize("name", JUNK)
def test_what_is_no_request_is_one_sentence(name, tmp_path):
    content, expected = JUNK[name]
    with pytest.raises(InputError, match=expected) as caught:
        read_request(write(tmp_path / "request.json", content))
    assert "\n" not in str(caught.value)
    assert "codec" not in str(caught.value)


def test_our_own_json_is_read_as_it_was_written(tmp_path):
    request = Request(DRAGS, "a cat", "mask.png")
    again = read_request(write(tmp_path / "request.json", request.to_json()))
    assert again == replace(request, mask=str(tmp_path / "mask.png"))


def test_as_data_a_request_holds_all_settings_or_only_those_that_somebody_chose():
    asked = Request(make_drags([((1, 2), (3, 4))]), "a cat", settings=make_settings({"steps": 5, "lr": None}))
    whole, chosen = asked.to_data(), asked.to_data(chosen=True)
    assert set(whole["settings"]) == set(setting_names())
    assert chosen["settings"] == {"steps": 5}
    assert {**whole, "settings": {}} == {**chosen, "settings": {}}
    for data in (whole, chosen):
        again = Request.from_data(json.loads(json.dumps(data)))
        assert (again.drags, again.prompt, as_dict(again.settings)) == (asked.drags, "a cat", as_dict(asked.settings))
    # Only then does what a model recommends, or another default, still count.
    suited = {"seed": 7, "steps": 9}
    for data, seed in ((whole, asked.settings.seed), (chosen, 7)):
        settings, _ = with_recommended(Request.from_data(data).settings, suited)
        assert (settings.steps, settings.seed) == (5, seed)
