"""The infotext: one readable line that the hosts' reader understands, and what comes back from it."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from dragtext.extension.infotext import read_infotext
from dragtext.extension.options import parse_settings
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.masks import mask_to_uri
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .jobs import finished, picture, request

LINE = 'Steps: 8, Seed: 1, Size: 80x64, DragText method: gooddrag, DragText drags: "20,30 -> 50,30"'


@pytest.fixture
def job(jobs):
    mask = np.random.default_rng(0).random((64, 80)) > 0.5
    return finished(jobs.submit(picture(), replace(request(lr=0.02, text=False), mask=mask_to_uri(mask))))


def test_what_stands_in_it(job, host):
    prompt, line = job.infotext.splitlines()
    assert prompt == "a cat, red: big"
    assert line.startswith("Steps: 4, ")
    assert 'DragText drags: "20,30 -> 50,30"' in line
    # It would switch Hires. fix on in txt2img; and a mask breaks other formats than PNG.
    assert "Denoising strength" not in line
    assert "base64" not in line
    assert len(line) < 600
    # The hosts' own keys and ours, told apart by name.
    names = re.findall(r'(\w[\w \-/]+): (?:"(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', line)
    assert [name for name in names if not name.startswith("DragText ")] == [
        "Steps",
        "Sampler",
        "CFG scale",
        "Seed",
        "Size",
        "Model",
    ]
    ((_, records, png),) = host.saved
    assert png  # another format would lose the mask
    assert json.loads(records["dragtext"])["mask"].startswith("data:image/png")


def test_what_comes_back(job):
    again = read_infotext(job.infotext)
    assert again.request.drags == job.request.drags
    assert again.request.settings == job.request.settings
    assert again.request.prompt == job.request.prompt
    assert (again.masked, again.request.mask, again.edit, again.v) == (True, None, job.id, (1.0, 1.0))


def test_a_negative_prompt_stands_where_the_hosts_have_it(jobs, host):
    asked = request(guidance=1.5, negative_prompt='blurry, "bad": ugly', text=False)
    job = finished(jobs.submit(picture(), asked))
    prompt, negative, line = job.infotext.splitlines()
    assert (prompt, negative) == (asked.prompt, 'Negative prompt: blurry, "bad": ugly')
    assert "CFG scale: 1.5" in line
    assert "negative_prompt" not in line
    assert read_infotext(job.infotext).request.settings == asked.settings


def test_a_value_with_commas_stands_in_quotes():
    settings = parse_settings('negative_prompt="blurry, bad", guidance=2')
    assert (settings.negative_prompt, settings.guidance) == ("blurry, bad", 2)


def test_around_it_may_stand_what_hosts_add():
    again = read_infotext(f"two\nlines\nNegative prompt: ugly\n{LINE}, DragText v: 0.5/1, Version: v1.10")
    assert again.request.prompt == "two\nlines"
    assert again.v == (0.5, 1.0)


def test_the_older_form_with_the_request_as_json(job):
    older = f"a cat\nSteps: 8, DragText method: gooddrag, DragText request: {json.dumps(job.result.request.to_json())}"
    assert read_infotext(older).request == job.result.request


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a cat\nSteps: 20, Sampler: Euler a, Seed: 1", "no DragText request"),
        ('a cat\nDragText request: "{', "damaged"),
        ("DragText request: " + json.dumps("[" * 100_000), "nested"),
        ("DragText request: " + "[" * 100_000, "damaged"),
        ("x" * 200_001, "the most is 200000"),
        ("x" * 10_001 + "\n" + LINE, "10001 characters"),
        ("half \ud83d\n" + LINE, "surrogate"),
        (LINE.replace("gooddrag", "magic"), "Unknown method"),
        (LINE.replace("20,30 ->", ""), "no target"),
        (LINE.replace("20,30 ->", "20"), "not of the form"),
        (LINE.replace("20,30 -> 50,30", "; ".join(["1,2 -> 3,4"] * 101)), "101 drags"),
        (LINE + ", DragText v: much", "no number"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(text, words):
    with pytest.raises(InputError, match=words) as refusal:
        read_infotext(text)
    assert "\n" not in str(refusal.value)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.text(max_size=200), st.sampled_from(["", LINE, "DragText method: ", "DragText request: "]))
def test_no_text_breaks_the_reader(text, end):
    try:
        read_infotext(text + end)
    except InputError:
        return
