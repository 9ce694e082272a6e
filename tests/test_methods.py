"""What every loop does on a tiny random model, and supervision on fields with exact answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.drag.motion import motion_loss
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model import identity
from dragtext.sdk.settings import make_settings

from .helpers import places
from .problems import make_problem
from .tiny import tiny_model


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
    steps = list(loop_of(method)(problem))
    assert any(step.updated for step in steps)
    for step in steps:
        assert step.latent.isfinite().all()
        assert step.text.isfinite().all()
        assert step.handles.shape == problem.handles.shape
        assert ((step.handles > -1) & (step.handles < 32)).all()
    assert torch.equal(steps[-1].text, problem.text.tokens) == (not text)


@pytest.mark.parametrize("gradients", ["joint", "paper", "official", "repository"])
@pytest.mark.parametrize("method", LOOPS)
def test_every_gradient_mode_runs_and_changes_both(model, method, gradients):
    # An easy success criterion, so that FreeDrag's published text step happens too.
    problem = make_problem(model, method, gradients=gradients, expected_loss=50.0)
    steps = list(loop_of(method)(problem))
    moved = steps[-1].bottleneck if method == "dragnoise" else steps[-1].latent
    first = steps[0].bottleneck if method == "dragnoise" else steps[0].latent
    assert not torch.equal(moved, first)
    assert not torch.equal(steps[-1].text, problem.text.tokens)


@pytest.mark.parametrize("method", ["dragdiffusion", "freedrag", "gooddrag"])
@pytest.mark.parametrize("mask_weight", [0.0, 0.1])
def test_a_held_background_is_the_undragged_ones_after_every_update(model, method, mask_weight):
    problem = make_problem(model, method, hold_background=True, mask_weight=mask_weight)
    outside = (problem.mask == 0).expand_as(problem.latent)
    steps = [step for step in loop_of(method)(problem) if step.updated]
    assert len(steps) > 1
    for step in steps:
        original = problem.latent if step.reference is None else step.reference
        assert torch.equal(step.latent[outside], original[outside])
        assert not torch.equal(step.latent[~outside], original[~outside])
    free = [step for step in loop_of(method)(make_problem(model, method, mask_weight=mask_weight)) if step.updated]
    assert not torch.equal(free[-1].latent[outside], problem.latent[outside])


def test_dragnoise_has_no_background_to_hold(editor):
    with pytest.raises(InputError, match="leave hold_background out"):
        editor.drag([((20, 20), (60, 50))], method="dragnoise", hold_background=True, lora_steps=0)


@pytest.mark.parametrize("method", LOOPS)
def test_the_model_and_the_problem_are_left_alone(model, method):
    problem = make_problem(model, method)
    latent, handles = problem.latent.clone(), problem.handles.copy()
    before = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    loop = loop_of(method)(problem)
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

    def poisoned(self, latent, timestep, words):
        calls.append(1)
        spoilt = words.tokens * (float("nan") if len(calls) > clean else 1.0)
        return real(self, latent, timestep, words.with_tokens(spoilt))

    monkeypatch.setattr(type(model), "predict", poisoned)
    steps = list(loop_of(method)(problem))
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
    steps = list(loop_of(method)(problem))
    assert steps[-1].diverged
    assert torch.equal(steps[-1].latent, problem.latent)
    assert torch.equal(steps[-1].text, problem.text.tokens)


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


@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize(
    ("dtype", "advice"), [(torch.float32, "checkpoint tiny is damaged"), (torch.bfloat16, "--dtype float32")]
)
def test_the_advice_against_nan_fits_the_precision(method, dtype, advice):
    model = tiny_model(dtype=dtype)
    model.unet.up_blocks[2].resnets[0].conv1.weight.data.fill_(float("nan"))
    with pytest.raises(ModelError, match=advice) as caught:
        list(loop_of(method)(make_problem(model, method)))
    assert ("float32" in str(caught.value)) == (dtype != torch.float32)
    latents = model.encode_image(torch.zeros(1, 3, 64, 64))
    settings = make_settings({"lora_steps": 1}).resolve()
    with pytest.raises(ModelError, match=f"{advice}.*--lora-steps 0"):
        list(identity.fit(model, latents, model.encode_text(""), settings))
