"""The three gradient modes against autograd of their written-out losses (ALGORITHMS section 6)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import dragdiffusion
from dragtext.sdk.drag.gradients import Gradients, regulariser_gradient
from dragtext.sdk.drag.motion import background_loss, motion_loss
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.model.schedule import TimeGrid
from dragtext.sdk.settings import make_settings

HANDLES = np.array([[10.0, 12.0], [20.0, 18.0]])
TARGETS = np.array([[10.0, 20.0], [26.0, 18.0]])


def make_problem(model, mask=True, **settings):
    generator = torch.Generator().manual_seed(1)
    latent_mask = None
    if mask:
        latent_mask = torch.zeros(1, 1, 8, 8)
        latent_mask[..., 2:6, 2:6] = 1
    return DragProblem(
        model=model,
        times=TimeGrid.of(0.7, 50),
        latent=torch.randn(1, 4, 8, 8, generator=generator),
        text=model.encode_text("a red cat"),
        handles=HANDLES,
        targets=TARGETS,
        grid=(32, 32),
        mask=latent_mask,
        settings=make_settings({"method": "dragdiffusion", "lora_steps": 0, "steps": 3, **settings}).resolve(),
    )


def written_out(problem, latent, text, start_previous):
    """Full-graph losses at (latent, text), nothing shared with the implementation's gradient code."""
    features, previous = problem.evaluate(latent, text)
    handles, active = problem.places(problem.handles), torch.tensor([True, True])
    motion = motion_loss(features, handles, problem.aims, active, problem.settings.supervision_radius)
    if previous is None:
        return motion, None
    weight = problem.settings.mask_weight
    return motion, weight * background_loss(previous, start_previous, problem.mask)


@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("mode", ["joint", "paper", "official"])
@pytest.mark.parametrize("family", ["model", "xl"])
def test_modes(request, family, mode, mask):
    model = request.getfixturevalue(family)
    problem = make_problem(model, mask, gradients=mode)
    with torch.no_grad():
        _, start_previous = problem.evaluate(problem.latent, problem.text.tokens)
    generator = torch.Generator().manual_seed(2)
    # Away from the start, so that neither the background term nor the regulariser vanishes.
    latent = problem.latent + 0.1 * torch.randn(problem.latent.shape, generator=generator)
    text = problem.text.tokens + 0.1 * torch.randn(problem.text.tokens.shape, generator=generator)
    latent.requires_grad_()
    text.requires_grad_()

    motion, background = written_out(problem, latent, text, start_previous)
    assert (background is not None) == mask
    motion_z, motion_c = torch.autograd.grad(motion, (latent, text), retain_graph=True)
    background_z, background_c = torch.zeros_like(latent), torch.zeros_like(text)
    if background is not None:
        background_z, background_c = torch.autograd.grad(background, (latent, text))
    rows = problem.text.content_length
    term = problem.settings.text_weight * (problem.text.tokens[:, :rows] - text[:, :rows]).abs().sum()
    (regulariser,) = torch.autograd.grad(term, text)
    assert regulariser[:, rows:].abs().max() == 0

    expected = {
        "joint": (motion_z + background_z, motion_c + background_c + regulariser),
        "paper": (motion_z + background_z, motion_c + regulariser),
        "official": (motion_z + background_z, 2 * motion_c + background_c + 2 * regulariser),
    }[mode]
    gradients = Gradients(problem)
    for repeat in range(2):
        motion, background = written_out(problem, latent, text, start_previous)
        z, c, usable = gradients(motion, background, latent, text, active=torch.tensor(2))
        assert usable is None  # in full precision every step is
        leftover = motion_z if mode == "official" and repeat else 0
        assert torch.allclose(z, expected[0] + leftover, rtol=1e-4, atol=1e-6)
        assert torch.allclose(c, expected[1], rtol=1e-4, atol=1e-6)


def test_the_regulariser_has_no_gradient_at_the_start(model):
    problem = make_problem(model)
    assert regulariser_gradient(problem.text.tokens.clone(), problem).abs().max() == 0


def test_without_text_only_the_latent_moves(model):
    problem = make_problem(model, text=False)
    steps = list(dragdiffusion.steps(problem))
    assert len(steps) == 4
    assert torch.equal(steps[-1].text, problem.text.tokens)
    assert not torch.equal(steps[-1].latent, problem.latent)


def test_one_adam_step_moves_by_the_learning_rate(model):
    """Adam's first step is lr * sign(gradient), which ties the update to the gradient's direction."""
    problem = make_problem(model, steps=1, lr=0.05)
    first, last = dragdiffusion.steps(problem)
    moved = first.latent - problem.latent
    assert moved.abs().max().item() == pytest.approx(0.05, rel=1e-3)
    assert (first.text - problem.text.tokens).abs().max().item() == pytest.approx(0.004, rel=1e-3)
    assert not last.updated
    assert torch.equal(last.latent, first.latent)


def test_nan_ends_with_the_last_good_state(model, monkeypatch):
    problem = make_problem(model, mask=False, steps=5)
    clean = list(dragdiffusion.steps(problem))
    calls = []
    real = type(model).predict

    def poisoned(self, latent, timestep, text):
        calls.append(1)
        return real(self, latent * (float("nan") if len(calls) > 3 else 1.0), timestep, text)

    monkeypatch.setattr(type(model), "predict", poisoned)
    steps = list(dragdiffusion.steps(problem))
    assert [step.diverged for step in steps] == [False, False, True]
    assert steps[-1].latent.isfinite().all()
    assert torch.equal(steps[-1].latent, clean[0].latent)


def test_the_caller_s_points_and_latent_are_not_touched(model):
    problem = make_problem(model)
    handles, latent = problem.handles.copy(), problem.latent.clone()
    list(dragdiffusion.steps(problem))
    assert np.array_equal(problem.handles, handles)
    assert torch.equal(problem.latent, latent)
