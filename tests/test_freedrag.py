"""FreeDrag: its line search and template on fields with exact answers, and its rounds."""

from __future__ import annotations

import math

import pytest
import torch
from dragtext.sdk.drag import freedrag
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.settings import make_settings

from .helpers import places
from .problems import make_problem


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
