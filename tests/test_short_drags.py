"""Drags that are shorter than what counts as arrived: worked on more closely, held in place, or refused; never a
success without a step."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.picture.placement import place
from dragtext.sdk.request import make_drags
from dragtext.sdk.settings import make_settings

from .helpers import noise

FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 0, "inference_steps": 4}
PHOTO = (3000, 4000)


def placed(drags, size=PHOTO, native=512, **settings):
    return place(size, make_settings(settings).resolve(), make_drags(drags), None, native, 8)


def test_a_short_drag_on_a_photo_is_worked_on_closely():
    """15 px of a 4000-px photo are 2 px at the model's size, less than two cells."""
    placement = placed([((2000, 1500), (2015, 1500))])
    assert placement.settings.crop == "auto"
    assert placement.frame.box_size != PHOTO
    handles, targets = placement.frame.to_grid(make_drags([((2000, 1500), (2015, 1500))]))
    assert np.linalg.norm(targets - handles) > 8
    (note,) = placement.notes
    assert "15 px apart" in note
    assert "--crop auto" in note


def test_a_long_drag_stays_on_the_whole_picture():
    placement = placed([((1000, 1500), (2000, 1500))])
    assert placement.settings.crop == "none"
    assert placement.frame.box_size == PHOTO
    assert "all of it is worked on" in placement.notes[0]


def test_the_crop_serves_where_only_scaling_made_one_drag_short():
    placement = placed([((1000, 1500), (1100, 1500)), ((1000, 1400), (1015, 1400))])
    assert placement.settings.crop == "auto"


def test_a_pin_on_an_unscaled_picture_is_held_in_place():
    drags = [((100, 100), (200, 100)), ((300, 300), (302, 300))]
    placement = placed(drags, (512, 512))
    assert placement.settings.crop == "none"
    assert placement.frame.is_whole
    assert "held in place" in placement.notes[0]
    assert "(300, 300)" in placement.notes[0]


@pytest.mark.parametrize("asked", [{"resolution": 512}, {"crop": "auto", "resolution": 64}])
def test_what_the_user_chose_is_kept_and_refused(asked):
    with pytest.raises(sdk.InputError, match="--reach-distance"):
        placed([((2000, 1500), (2004, 1500))], **asked)
    if "crop" not in asked:
        with pytest.raises(sdk.InputError, match="--crop auto"):
            placed([((2000, 1500), (2004, 1500))], **asked)


def test_a_drag_that_no_working_size_makes_long_is_refused():
    with pytest.raises(sdk.InputError, match=r"handle \(20, 20\) and its target \(21, 20\) are 1 px apart"):
        placed([((20, 20), (21, 20))], (128, 128), native=128)


def test_a_lower_reach_distance_allows_it():
    assert placed([((20, 20), (22, 20))], (128, 128), native=64, reach_distance=0.5).frame.is_whole


def test_the_editor_drags_it_or_says_no(model, caplog):
    editor = sdk.Editor(model, noise())
    phases = []
    with pytest.raises(sdk.InputError, match="nothing would be dragged"):
        editor.drag([((20, 20), (22, 20))], **FAST, on_progress=phases.append)
    assert not phases
    with caplog.at_level(logging.WARNING):
        result = editor.drag([((20, 20), (60, 50)), ((40, 20), (42, 20))], **FAST)
    assert result.steps == 2
    assert "held in place" in caplog.text
    assert any("held in place" in note for note in result.notes)
    assert result.report()["notes"] == list(result.notes)


def test_a_short_drag_in_a_crop_is_dragged(model):
    image = noise(1100, 1000)
    result = sdk.Editor(model, image).drag([((500, 500), (506, 500))], **{**FAST, "reach_distance": 1.0})
    assert result.steps == 2
    assert result.settings.crop == "auto"
    assert result.request.settings.crop == "none"
    assert np.array_equal(np.array(result.image)[:300], image[:300])


@pytest.mark.parametrize("method", [m for m in LOOPS if m != "freedrag"])  # which looks after its updates
def test_no_step_is_no_success(method, model, monkeypatch):
    """Whatever a loop says at its first look."""
    real = DragProblem.active
    monkeypatch.setattr(DragProblem, "active", lambda self, left: real(self, left) & False)
    editor = sdk.Editor(model, np.full((70, 93, 3), 99, np.uint8))
    result = editor.drag([((20, 20), (60, 50))], **{**FAST, "method": method, "drag_levels": 1, "tracks_per_level": 1})
    assert (result.steps, result.reached, result.stopped) == (0, False, "stuck")


def test_freedrag_needs_only_a_way_to_go(model):
    """It asks whether a point has arrived after a round of updates."""
    picture = noise()
    result = sdk.Editor(model, picture).drag([((20, 20), (22, 20))], **{**FAST, "method": "freedrag"})
    assert result.steps > 0
    assert not torch.equal(result.latent_before, result.latent_after)
