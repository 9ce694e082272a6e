"""What each method does that the others do not, on a tiny random model and on fields with exact answers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import dragdiffusion, dragnoise, freedrag, gooddrag, most_steps
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.drag.motion import motion_loss
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import ModelError
from dragtext.sdk.model import identity
from dragtext.sdk.model.schedule import TimeGrid, ddim_step
from dragtext.sdk.model.taps import features_only
from dragtext.sdk.settings import make_settings

from .helpers import noise, places
from .tiny import tiny_model

LOOPS = {
    "dragdiffusion": dragdiffusion.steps,
    "dragnoise": dragnoise.steps,
    "freedrag": freedrag.steps,
    "gooddrag": gooddrag.steps,
}
SHORT = {
    "dragdiffusion": {"steps": 4},
    "dragnoise": {"steps": 4},
    "freedrag": {"steps": 6, "inner_steps": 2},
    "gooddrag": {"drag_levels": 2, "tracks_per_level": 2, "steps_per_track": 2},
}


def make_problem(model, method, handles=((10, 12),), targets=((10, 20),), mask="rectangle", strength=0.2, **settings):
    generator = torch.Generator().manual_seed(1)
    latent_mask = None
    if mask is not None:
        latent_mask = torch.zeros(1, 1, 8, 8)
        if mask == "rectangle":
            latent_mask[..., 2:6, 2:6] = 1
    resolved = make_settings({"method": method, "strength": strength, **SHORT[method], **settings}).resolve()
    return DragProblem(
        model=model,
        times=TimeGrid.of(strength, 50),
        latent=torch.randn(1, 4, 8, 8, generator=generator),
        text=model.encode_text("a red cat"),
        handles=np.array(handles, dtype=np.float64),
        targets=np.array(targets, dtype=np.float64),
        grid=(32, 32),
        mask=latent_mask,
        settings=resolved,
    )


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize(
    ("handles", "targets"),
    [
        (((0, 0), (31, 31)), ((9, 9), (20, 31))),  # windows beyond two corners
        (((16, 31),), ((0, 16),)),
    ],
)
@pytest.mark.parametrize("mask", [None, "empty", "rectangle"])
def test_borders_and_masks_never_break_a_variant(model, method, text, handles, targets, mask):
    problem = make_problem(model, method, handles, targets, mask, text=text)
    steps = list(LOOPS[method](problem))
    assert any(step.updated for step in steps)
    for step in steps:
        assert step.latent.isfinite().all()
        assert step.text.isfinite().all()
        assert step.handles.shape == problem.handles.shape
        assert ((step.handles > -1) & (step.handles < 32)).all()
    assert torch.equal(steps[-1].text, problem.text.embedding) == (not text)


@pytest.mark.parametrize("gradients", ["joint", "paper", "official", "repository"])
@pytest.mark.parametrize("method", LOOPS)
def test_every_gradient_mode_runs_and_changes_both(model, method, gradients):
    # An easy success criterion, so that FreeDrag's published text step happens too.
    problem = make_problem(model, method, gradients=gradients, expected_loss=50.0)
    steps = list(LOOPS[method](problem))
    moved = steps[-1].bottleneck if method == "dragnoise" else steps[-1].latent
    first = steps[0].bottleneck if method == "dragnoise" else steps[0].latent
    assert not torch.equal(moved, first)
    assert not torch.equal(steps[-1].text, problem.text.embedding)


@pytest.mark.parametrize("method", LOOPS)
def test_the_model_and_the_problem_are_left_alone(model, method):
    problem = make_problem(model, method)
    latent, handles = problem.latent.clone(), problem.handles.copy()
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    loop = LOOPS[method](problem)
    next(loop)
    loop.close()  # as an interrupt does
    assert torch.equal(problem.latent, latent)
    assert np.array_equal(problem.handles, handles)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.unet.state_dict().items())
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.unet.modules())


@pytest.mark.parametrize("method", LOOPS)
def test_nan_ends_with_the_last_good_state(model, method, monkeypatch):
    problem = make_problem(model, method, mask=None)
    calls = []
    real = type(model).predict
    # GoodDrag looks at its levels first; FreeDrag and the others once.
    clean = {"gooddrag": 4}.get(method, 3)

    def poisoned(self, latent, timestep, text):
        calls.append(1)
        return real(self, latent, timestep, text * (float("nan") if len(calls) > clean else 1.0))

    monkeypatch.setattr(type(model), "predict", poisoned)
    steps = list(LOOPS[method](problem))
    assert steps[-1].diverged
    assert steps[-1].latent.isfinite().all()
    assert steps[-1].text.isfinite().all()


@pytest.mark.parametrize("method", LOOPS)
def test_nan_from_the_last_update_is_not_the_result(model, method, monkeypatch):
    """A step so large that what follows overflows: the state before it is kept."""
    problem = make_problem(model, method, mask=None, steps=1, drag_levels=1, inner_steps=1)
    from dragtext.sdk.drag.variable import Variable

    real = Variable.step

    def explode(self, gradient, usable=None):
        real(self, gradient, usable)
        with torch.no_grad():
            self.leaf.mul_(float("inf"))

    monkeypatch.setattr(Variable, "step", explode)
    steps = list(LOOPS[method](problem))
    assert steps[-1].diverged
    assert torch.equal(steps[-1].latent, problem.latent)
    assert torch.equal(steps[-1].text, problem.text.embedding)


def test_supervision_by_the_original_feature_compares_the_right_patches():
    """GoodDrag: F0 at the first handle against F1 at the current handle plus the displacement."""
    generator = torch.Generator().manual_seed(0)
    before, now = (FeatureMap(torch.randn(1, 3, 24, 24, generator=generator), (24, 24)) for _ in range(2))
    loss = motion_loss(
        now,
        places((10, 11)),
        places((10, 20)),
        torch.tensor([True]),
        2,
        displacement=4.0,
        factor=16.0,
        original=(before, places((8, 6))),
    )
    wanted, moved = before.native[0, :, 6:11, 4:9], now.native[0, :, 8:13, 13:18]
    assert loss.item() == pytest.approx(16 * (wanted - moved).abs().mean().item(), rel=1e-5)


def test_supervision_goes_no_farther_than_the_target():
    ramp = FeatureMap(torch.arange(24.0).expand(1, 1, 24, 24).contiguous(), (24, 24))
    near = motion_loss(ramp, places((9, 9)), places((9, 12)), torch.tensor([True]), 1, displacement=5.0, factor=1.0)
    assert near.item() == pytest.approx(3.0)


# FreeDrag ------------------------------------------------------------------------------------------------------------


def freedrag_settings(**settings):
    return make_settings({"method": "freedrag", "displacement": 5.0, "supervision_radius": 1, **settings}).resolve()


def ramp_search(loss_first, loss_end, **settings):
    """On F = col the candidate k columns ahead differs from the template by exactly k."""
    ramp = FeatureMap(torch.arange(40.0).expand(1, 1, 40, 40).contiguous(), (40, 40))
    current = places((20, 10))
    template = freedrag.sample(ramp, current, 1)
    losses = torch.tensor([loss_first]), torch.tensor([loss_end])
    found, forward = freedrag.search(ramp, template, current, places((20, 30)), *losses, freedrag_settings(**settings))
    return found[0], bool(forward)


def test_normal_search_takes_the_candidate_as_hard_as_expected():
    found, forward = ramp_search(0.0, 0.0, expected_loss=2.0)
    assert found.tolist() == pytest.approx([20.0, 12.0])
    assert forward
    found, _ = ramp_search(0.0, 0.0, expected_loss=100.0)
    assert found.tolist() == pytest.approx([20.0, 15.0])  # no farther than d_max


def test_keep_stays_and_rollback_takes_the_easiest():
    found, forward = ramp_search(2.0, 1.0, expected_loss=1.0)
    assert found.tolist() == [20.0, 10.0]
    assert forward
    found, forward = ramp_search(1.0, 2.0, expected_loss=1.0)
    # From 5 behind to 5 ahead in tenths; the fifth tenth is the current place, whose difference is 0.
    assert found.tolist() == pytest.approx([20.0, 10.0])
    assert not forward


def test_search_stops_at_the_goal():
    ramp = FeatureMap(torch.arange(40.0).expand(1, 1, 40, 40).contiguous(), (40, 40))
    current, nothing = places((20, 10)), torch.zeros(1)
    template, settings = freedrag.sample(ramp, current, 1), freedrag_settings(expected_loss=50.0)
    found, _ = freedrag.search(ramp, template, current, places((20, 12)), nothing, nothing, settings)
    assert found[0].tolist() == pytest.approx([20.0, 12.0])


def test_template_weight_by_hand():
    slope = math.log(9) / 0.6
    losses = [0.0, 0.2, 0.5, 0.8, 1e6]
    expected = [1 / (1 + math.exp(min(slope * (loss - 0.2), 700))) for loss in losses]
    assert freedrag.template_weight(torch.tensor(losses).double(), 1.0).tolist() == pytest.approx(expected)
    assert freedrag.template_weight(torch.tensor(0.2), 1.0).item() == pytest.approx(0.5)
    assert freedrag.template_weight(torch.tensor(1.6), 2.0).item() == pytest.approx(0.1)


def test_freedrag_reaches_an_easy_goal_and_says_so(model):
    """With a huge expected loss every round succeeds at once, so five grid pixels a round lead to the goal."""
    problem = make_problem(model, "freedrag", targets=((10, 22),), mask=None, expected_loss=100.0, steps=40)
    steps = list(freedrag.steps(problem))
    assert steps[-1].reached
    assert [step.handles[0, 1] for step in steps if step.updated] == pytest.approx([17.0, 22.0])


def test_a_freedrag_round_costs_one_forward_less(model, monkeypatch):
    """The evaluation that closes a round serves the first update of the next."""
    problem = make_problem(model, "freedrag", mask=None, steps=6, inner_steps=2, expected_loss=1e-6)
    calls = []
    real = type(model).predict
    monkeypatch.setattr(type(model), "predict", lambda self, *a: (calls.append(1), real(self, *a))[1])
    updates = sum(step.updated for step in freedrag.steps(problem))
    assert updates == 6
    assert len(calls) == 1 + 6 + 1  # the start, one per update, and the close of the last round


# DragNoise -----------------------------------------------------------------------------------------------------------


def test_dragnoise_computes_the_encoder_once_without_text(model):
    counted = []
    handle = model.unet.down_blocks[0].resnets[0].register_forward_hook(lambda *_: counted.append(1))
    try:
        plain = list(dragnoise.steps(make_problem(model, "dragnoise", text=False)))
        without = len(counted)
        counted.clear()
        list(dragnoise.steps(make_problem(model, "dragnoise", text=True)))
    finally:
        handle.remove()
    assert without == 2  # the bottleneck's start, and once for all updates
    assert len(counted) == 1 + 1 + 4 + 1
    assert len({tuple(step.bottleneck.flatten()[:3].tolist()) for step in plain if step.updated}) == 4


def test_dragnoise_with_and_without_remembered_encoder_agree(model, monkeypatch):
    problem = make_problem(model, "dragnoise", text=False)
    remembered = list(dragnoise.steps(problem))
    from contextlib import nullcontext

    monkeypatch.setattr(dragnoise, "remember", lambda *_: nullcontext())
    recomputed = list(dragnoise.steps(problem))
    for one, other in zip(remembered, recomputed):
        assert torch.allclose(one.bottleneck, other.bottleneck, atol=1e-6)


def test_dragnoise_starts_from_the_models_own_mid_block(model):
    problem = make_problem(model, "dragnoise", steps=1, lr=1e-6)
    first = next(iter(dragnoise.steps(problem)))
    with torch.no_grad():
        own = features_only(model, problem.latent, problem.times.start, problem.text.embedding, 0)
    assert torch.allclose(first.bottleneck, own, atol=1e-5)


# GoodDrag ------------------------------------------------------------------------------------------------------------


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
            prediction = model.predict(reference, timestep, problem.text.embedding)
            reference = ddim_step(model, problem.times, prediction, reference, timestep)
    assert torch.allclose(steps[-1].reference, reference, atol=1e-5)


def test_gooddrag_carries_the_embedding_from_level_to_level_except_as_published(model):
    options = {"targets": ((30, 30),), "mask": None, "drag_levels": 2, "tracks_per_level": 1, "steps_per_track": 3}
    carried = [s for s in gooddrag.steps(make_problem(model, "gooddrag", **options)) if s.updated]
    restarting = make_problem(model, "gooddrag", gradients="official", **options)
    published = [s for s in gooddrag.steps(restarting) if s.updated]
    start = model.encode_text("a red cat").embedding

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


# What a model or its numbers may lack ---------------------------------------------------------------------------------


def without_mid_block():
    model = tiny_model()
    model.unet.mid_block = None
    model.layout = replace(model.layout, mid=None)
    return model


def test_dragnoise_refuses_a_unet_without_middle_block_before_any_work():
    model = without_mid_block()
    editor = Editor(model, np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(ModelError, match="middle block, and tiny has none; use another method"):
        editor.steps([((10, 10), (50, 50))], method="dragnoise")
    with pytest.raises(ModelError, match="middle block"):
        next(dragnoise.steps(make_problem(model, "dragnoise")))


@pytest.mark.parametrize("method", sorted(set(LOOPS) - {"dragnoise"}))
def test_the_other_methods_go_on_without_a_middle_block(method):
    editor = Editor(without_mid_block(), noise(64, 64))
    settings = {**SHORT[method], "strength": 0.2, "lora_steps": 1, "method": method}
    assert editor.drag([((10, 10), (50, 50))], **settings).steps > 0


@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize(
    ("dtype", "advice"), [(torch.float32, "checkpoint tiny is damaged"), (torch.bfloat16, "--dtype float32")]
)
def test_the_advice_against_nan_fits_the_precision(method, dtype, advice):
    model = tiny_model(dtype=dtype)
    model.unet.up_blocks[2].resnets[0].conv1.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match=advice) as caught:
        list(LOOPS[method](make_problem(model, method)))
    assert ("float32" in str(caught.value)) == (dtype != torch.float32)
    latents = model.encode_image(torch.zeros(1, 3, 64, 64))
    settings = make_settings({"lora_steps": 1}).resolve()
    with pytest.raises(ModelError, match=f"{advice}.*--lora-steps 0"):
        list(identity.fit(model, latents, model.encode_text("").embedding, settings))
