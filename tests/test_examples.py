"""The four drags of the demonstration, as the demo, the tab and `examples/` get them."""

import subprocess
import sys

import numpy as np
import pytest
from dragtext.sdk.evaluation.examples import examples
from dragtext.sdk.picture.files import save_image
from dragtext.sdk.picture.masks import load_mask
from dragtext.sdk.picture.requests import read_request
from PIL import Image


@pytest.mark.parametrize("seed", [0, 2])
def test_each_kind_of_drag_has_its_figure(seed):
    shown = [(one.task.kind, one.name, one.title) for one in examples(seed)]
    assert shown == [
        ("move", "duck", "a duck moved"),
        ("part", "cat", "a cat's ears raised"),
        ("rotate", "fish", "a fish turned"),
        ("stretch", "house", "a house stretched"),
    ]
    for one in examples(seed):
        assert one.name in one.prompt
        assert one.prompt == one.request.prompt
    ears = examples(seed)[1].request.drags
    assert len(ears) == 2
    assert all(drag.target[1] < drag.source[1] for drag in ears)


def test_the_seed_chooses_scenes():
    assert not np.array_equal(examples(0)[0].picture, examples(1)[0].picture)


def test_the_request_is_the_tasks_and_travels_in_a_picture(tmp_path):
    for one in examples():
        path = save_image(Image.fromarray(one.picture), tmp_path / f"{one.name}.png", one.request)
        assert read_request(path).drags == one.request.drags
        assert [(drag.source, drag.target) for drag in one.request.drags] == list(one.task.drags)
        assert np.array_equal(load_mask(read_request(path).mask, one.picture.shape[:2]), one.task.mask > 0)


def test_a_page_that_lists_them_need_not_wait_for_torch():
    code = (
        "import sys; from dragtext.sdk.evaluation.examples import examples; examples(); print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "False"
