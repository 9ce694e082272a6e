"""Captured iterations, with a stand-in for torch's graphs that keeps their rules on the CPU.

As a CUDA graph does, it computes on memory of its own, gives out that memory, overwrites it with the next pass, and
knows one backward pass, of the latest forward pass. What a card makes of it is seen on a card alone (the last test).
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.model import capture
from dragtext.sdk.model.capture import Captures, captured

from .helpers import noise
from .problems import FIVE, LONGER, make_problem
from .tiny import tiny_model

CAPTURED = [method for method in LOOPS if method != "dragnoise"]


class StandIn:
    """What `make_graphed_callables` gives, by the same rules."""

    made = 0

    def __init__(self, work, samples):
        StandIn.made += 1
        self.replays = self.passes = 0
        self._work, self._inputs = work, [sample.detach().clone() for sample in samples]
        self._wanted = [sample.requires_grad for sample in samples]
        self._results = [torch.empty_like(result) for result in work(*samples)]
        self._gradients = [torch.empty_like(sample) for sample in samples]

    def __call__(self, *inputs):
        assert [tensor.requires_grad for tensor in inputs] == self._wanted
        return _Replay.apply(self, *inputs)

    def replay(self, inputs):
        self.passes += 1
        self.replays += 1
        for own, given in zip(self._inputs, inputs):
            assert own.shape == given.shape
            own.copy_(given)
        with torch.enable_grad():
            self._leaves = [own.clone().requires_grad_(wanted) for own, wanted in zip(self._inputs, self._wanted)]
            self._graph = self._work(*self._leaves)
        for own, result in zip(self._results, self._graph):
            own.copy_(result.detach())
        return tuple(own.detach() for own in self._results)

    def back(self, number, gradients):
        assert number == self.passes, "a backward pass of a forward pass that was overwritten"
        self.passes += 1  # what it kept is gone
        leaves = [leaf for leaf, wanted in zip(self._leaves, self._wanted) if wanted]
        found = iter(torch.autograd.grad(self._graph, leaves, gradients, allow_unused=True))
        for own, wanted in zip(self._gradients, self._wanted):
            if wanted:
                own.copy_(next(found))
        return [own.detach() if wanted else None for own, wanted in zip(self._gradients, self._wanted)]


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx, graph, *inputs):
        ctx.graph = graph
        results = graph.replay(inputs)
        ctx.number = graph.passes
        return results

    @staticmethod
    def backward(ctx, *gradients):
        return None, *ctx.graph.back(ctx.number, gradients)


@pytest.fixture
def stand_in(monkeypatch):
    StandIn.made = 0
    made = []
    monkeypatch.setattr(capture, "make_graph", lambda work, samples: made.append(StandIn(work, samples)) or made[-1])
    return made


def ways(problem, method):
    """The same drag without captures and with them."""
    return [list(loop_of(method)(replace(problem, captures=captures))) for captures in (None, Captures())]


def same(one, other):
    assert one.loss == other.loss
    assert np.array_equal(one.handles, other.handles)
    assert torch.equal(one.latent, other.latent)
    assert torch.equal(one.text, other.text)


@pytest.mark.parametrize("text", [True, False], ids=["text", "no text"])
@pytest.mark.parametrize(("points", "mask"), [({}, None), (FIVE, "rectangle")], ids=["one point", "five in a mask"])
@pytest.mark.parametrize("method", CAPTURED)
def test_a_replayed_drag_is_the_same_to_the_bit(model, stand_in, method, points, mask, text):
    problem = make_problem(model, method, mask=mask, text=text, **points, **LONGER[method])
    plain, replayed = ways(problem, method)
    assert len(plain) == len(replayed) > 4
    for one, other in zip(plain, replayed):
        same(one, other)
    (graph,) = stand_in  # one for all levels
    assert graph.replays >= len(plain) - 1


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("dragnoise", {}),
        ("dragdiffusion", {"gradients": "official"}),
        ("gooddrag", {"gradients": "paper"}),
    ],
)
def test_what_cannot_be_replayed_is_not(model, stand_in, method, settings):
    for one, other in zip(*ways(make_problem(model, method, **settings), method)):
        same(one, other)
    assert stand_in == []


@pytest.mark.parametrize("forgets", ["the latent", "the level"])
def test_a_capture_that_gives_other_numbers_is_not_used(model, monkeypatch, caplog, forgets):
    def wrong(work, samples):
        graph = StandIn(work, samples)
        number = {"the latent": 0, "the level": 2}[forgets]
        replay = graph.replay
        first = samples[number].detach().clone() + (400 if number else 0)

        def forgetful(inputs):
            return replay([first if k == number else given for k, given in enumerate(inputs)])

        graph.replay = forgetful
        return graph

    monkeypatch.setattr(capture, "make_graph", wrong)
    plain, other = ways(make_problem(model, "dragdiffusion"), "dragdiffusion")
    same(plain[-1], other[-1])
    (line,) = [record.message for record in caplog.records]
    assert "gives other numbers here" in line


def test_where_nothing_can_be_captured_one_line_says_so(model, monkeypatch, caplog):
    def forbidden(_work, _samples):
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(capture, "make_graph", forbidden)
    plain, other = ways(make_problem(model, "gooddrag"), "gooddrag")
    same(plain[-1], other[-1])
    (line,) = [record.message for record in caplog.records]
    assert line.startswith("An iteration cannot be captured here (CUDA error: operation not permitted")
    assert "\n" not in line


def edited(model, **settings):
    more = {"method": "dragdiffusion", "steps": 4, "lora_steps": 2, "inference_steps": 4, "strength": 0.5}
    return sdk.Editor(model, noise(), "a cat").drag([((20, 20), (60, 50))], **more, **settings)


def test_an_edit_captures_where_the_model_can_and_is_told_to(stand_in, monkeypatch, caplog):
    model = tiny_model()
    plain = edited(model)
    with caplog.at_level(logging.WARNING, logger="dragtext"):
        same_again = edited(model, capture=True)
    assert "`capture` does nothing here" in caplog.text
    assert stand_in == []
    monkeypatch.setattr(type(model), "can_capture", True)
    assert np.array_equal(np.array(edited(model).image), np.array(plain.image))
    assert stand_in == []  # not unasked
    replayed = edited(model, capture=True)
    assert len(stand_in) == 1
    for result in (same_again, replayed):
        assert np.array_equal(np.array(result.image), np.array(plain.image))
        assert torch.equal(result.latent_after, plain.latent_after)
    edited(model, capture=True, memory="lean")
    assert len(stand_in) == 1  # no room for a graph


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_on_a_card(dtype):
    model = tiny_model()
    model.unet.to("cuda", dtype)
    model.device, model.dtype = torch.device("cuda"), dtype
    problem = make_problem(model, "gooddrag", **LONGER["gooddrag"])
    there = {"latent": problem.latent.cuda(), "mask": problem.mask.cuda(), "text": problem.text.to(model.device)}
    problem = replace(problem, **there)
    work = captured(lambda x: (x * 2,), (torch.ones(3, device="cuda", requires_grad=True),))
    assert work is not None
    plain, replayed = ways(problem, "gooddrag")
    for one, other in zip(plain, replayed):
        assert np.abs(one.handles - other.handles).max() <= 1
