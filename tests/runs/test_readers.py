"""What benchmarks and batches read: scenes, folders in every layout, lines of requests."""

from __future__ import annotations

import json
from itertools import islice

import numpy as np
import pytest
from dragtext.sdk.batch.tasks import RequestSource
from dragtext.sdk.errors import InputError
from dragtext.sdk.evaluation.readers import read_items, scenes
from dragtext.sdk.request import Request

POINTS = [[20, 20], [40, 30]]


def test_scenes_come_a_kind_at_a_time_and_hard_ones_when_named():
    names = [item.name for item in islice(read_items("scenes"), 5)]
    assert names == ["move-0000", "part-0000", "rotate-0000", "stretch-0000", "move-0001"]
    first, second = islice(read_items("scenes", ("unnamed", "twins")), 2)
    opened = first.source.open()
    assert (first.category, opened.prompt) == ("unnamed", "")
    assert opened.answer.kind == "move"
    assert second.source.open().prompt.count(" a small ") == 1  # the other of two


def test_of_a_folder_only_what_is_wanted(tmp_path, pictures):
    for category in ("animals", "houses"):
        folder = tmp_path / "bench" / category / "one"
        folder.mkdir(parents=True)
        (folder / "original_image.png").write_bytes(pictures[0].read_bytes())
        (folder / "drag_instruction.json").write_text(json.dumps({"prompt": "", "points": POINTS}))
    assert [item.name for item in read_items(str(tmp_path / "bench"), ("houses",))] == ["houses-one"]
    with pytest.raises(InputError, match="of the category boats"):
        read_items(str(tmp_path / "bench"), ("boats",))


def test_lines_of_one_picture_and_prompt_are_one_group(tmp_path, pictures):
    line = {"image": "pictures/a.png", "drags": [POINTS], "mask": "pictures/b.png"}
    file = tmp_path / "jobs.jsonl"
    file.write_text("\n".join(json.dumps({**line, "prompt": prompt}) for prompt in ("a", "a", "b")))
    items = list(read_items(str(file)))
    assert [item.name for item in items] == ["a-0001", "a-0002", "a-0003"]
    assert items[0].group == items[1].group != items[2].group
    assert items[0].source.open().mask.shape == (64, 64)


def test_readers_find_every_layout(tmp_path, pictures):
    dragbench = tmp_path / "bench" / "animals" / "one"
    drag100 = tmp_path / "bench" / "two"
    for folder in (dragbench, drag100):
        folder.mkdir(parents=True)
        (folder / "mask.png").write_bytes(pictures[0].read_bytes())
    (dragbench / "original_image.png").write_bytes(pictures[0].read_bytes())
    (dragbench / "drag_instruction.json").write_text(json.dumps({"prompt": "a cat", "points": POINTS}))
    (drag100 / "original.png").write_bytes(pictures[1].read_bytes())
    (drag100 / "points.json").write_text(json.dumps({"points": POINTS}))
    (tmp_path / "bench" / "three.png").write_bytes(pictures[2].read_bytes())
    (tmp_path / "bench" / "three.json").write_text(json.dumps({"drags": [POINTS]}))
    items = {item.name: item for item in read_items(str(tmp_path / "bench"))}
    assert {name: item.category for name, item in items.items()} == {"animals-one": "animals", "two": "", "three": ""}
    opened = items["animals-one"].source.open()
    assert (opened.prompt, opened.drags[0].target) == ("a cat", (40, 30))
    assert opened.mask.shape == (64, 64)
    assert items["three"].source.open().mask is None
    assert isinstance(items["two"].source, RequestSource)
    assert isinstance(items["two"].source.request, Request)


def test_a_move_with_so_many_handles_is_the_same_move():
    plain, one, many = (next(scenes((kind,))).source.open() for kind in ("move", "points-1", "points-16"))
    assert (len(one.drags), len(many.drags)) == (1, 16)
    assert np.array_equal(plain.truth, many.truth)
    ways = {tuple(np.subtract(drag.target, drag.source).round(6)) for drag in many.drags}
    assert len(ways) == 1
    assert len({drag.source for drag in many.drags}) == 16
    assert all(many.answer.before[int(drag.source[1]), int(drag.source[0])] for drag in many.drags)
