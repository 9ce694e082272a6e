"""GoodDrag: dragging that alternates with denoising, level by level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import gooddrag, most_steps
from dragtext.sdk.editor import Editor
from dragtext.sdk.model.schedule import ddim_step
from dragtext.sdk.settings import make_settings

from .problems import make_problem


def test_gooddrag_alternates_drags_and_denoising(model):
    problem = make_problem(
        model, "gooddrag", targets=((30, 30),), mask=None,
        drag_levels=3, tracks_per_level=2, steps_per_track=2, patience=100,
    )  # fmt: skip
    steps = list(gooddrag.steps(problem))
    updates = [step for step in steps if step.updated]
    assert [step.level for step in updates] == [0] * 4 + [1] * 4 + [2] * 4
    assert not steps[-1].updated
    assert steps[-1].level == 3
    # The reference is the plain denoise of the inverted latent.
    reference = problem.latent
    with torch.no_grad():
        for level in range(3):
            assert torch.allclose(updates[4 * level].reference, reference, atol=1e-5)
            timestep = problem.times.timesteps[level]
            prediction = model.predict(reference, timestep, problem.text)
            reference = ddim_step(model, problem.times, prediction, reference, timestep)
    assert torch.allclose(steps[-1].reference, reference, atol=1e-5)


def test_gooddrag_carries_the_embedding_from_level_to_level_except_as_published(model):
    options = {"targets": ((30, 30),), "mask": None, "drag_levels": 2, "tracks_per_level": 1, "steps_per_track": 3}
    carried = [s for s in gooddrag.steps(make_problem(model, "gooddrag", **options)) if s.updated]
    restarting = make_problem(model, "gooddrag", gradients="official", **options)
    published = [s for s in gooddrag.steps(restarting) if s.updated]
    start = model.encode_text("a red cat").tokens

    def distance(step):
        return (step.text - start).abs().max().item()

    # One Adam step moves an element by at most about the learning rate.
    assert distance(carried[3]) > distance(carried[2])
    assert distance(published[3]) < 1.5 * 0.004 < distance(published[2])


def test_gooddrag_ends_after_patience_and_after_its_steps(model):
    still = make_problem(model, "gooddrag", lr=1e-9, text=False, patience=2, drag_levels=4, tracks_per_level=9)
    steps = list(gooddrag.steps(still))
    assert sum(step.updated for step in steps) == 2 * 2
    assert steps[-1].level == 1
    assert steps[-1].stuck
    few = make_problem(model, "gooddrag", steps=3, drag_levels=4)
    assert sum(step.updated for step in gooddrag.steps(few)) == 3


def test_gooddrag_on_fewer_levels_than_it_wants_ends_clean(model):
    problem = make_problem(model, "gooddrag", strength=0.04, drag_levels=7, targets=((30, 30),))
    steps = list(gooddrag.steps(problem))
    assert len(problem.times.timesteps) == 2
    assert steps[-1].level == 2
    assert steps[-1].latent.isfinite().all()


LONG = {"targets": ((30, 30),), "mask": None, "tracks_per_level": 1, "steps_per_track": 2, "patience": 100, "lr": 1e-3}


def test_more_steps_than_gooddrags_levels_hold_get_more_levels(model):
    published, longer = (make_problem(model, "gooddrag", drag_levels=None, steps=n, **LONG) for n in (14, 17))
    assert (published.settings.drag_levels, longer.settings.drag_levels) == (7, 9)
    first, second = (list(gooddrag.steps(problem)) for problem in (published, longer))
    updates = [step for step in second if step.updated]
    assert len(updates) == 17
    assert [step.level for step in updates[-4:]] == [6, 7, 7, 8]
    # What was published is what the longer drag begins with.
    assert all(torch.equal(one.latent, other.latent) for one, other in zip([s for s in first if s.updated], updates))


def test_gooddrags_levels_where_they_are_given_or_published():
    assert make_settings({"method": "gooddrag"}).resolve().drag_levels == 7
    assert make_settings({"method": "gooddrag", "steps": 210}).resolve().drag_levels == 7
    assert make_settings({"method": "gooddrag", "steps": 20}).resolve().drag_levels == 7
    assert make_settings({"method": "gooddrag", "steps": 211}).resolve().drag_levels == 8
    assert make_settings({"method": "gooddrag", "steps": 2000, "drag_levels": 3}).resolve().drag_levels == 3
    # As many levels as a setting may have, and no more updates than there are timesteps for.
    one_by_one = {"method": "gooddrag", "steps": 2000, "tracks_per_level": 1, "steps_per_track": 1}
    resolved = make_settings(one_by_one).resolve()
    assert resolved.drag_levels == 500
    assert most_steps(resolved) == 38
    assert most_steps(make_settings({"method": "dragdiffusion", "steps": 99}).resolve()) == 99


@pytest.mark.parametrize(("given", "makes"), [({"steps": 30}, 20), ({"steps": 9, "drag_levels": 2}, 4), ({}, None)])
def test_steps_that_cannot_be_made_are_said_before_any_work(model, caplog, given, makes):
    editor = Editor(model, np.zeros((64, 64, 3), np.uint8))
    loop = {key: LONG[key] for key in ("tracks_per_level", "steps_per_track")}
    with caplog.at_level("WARNING"):
        run = editor.steps([((10, 10), (50, 50))], strength=0.2, lora_steps=0, **{**loop, **given})
    text = "".join(record.getMessage() for record in caplog.records)
    assert (f"only {makes} can be made" in text) == (makes is not None)
    assert ("drag_levels" in text) == (makes is not None)
    if makes is not None:
        total = next(progress.total for progress in run if progress.phase == "drag")
        assert total == makes
