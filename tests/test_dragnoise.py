"""DragNoise: the encoder that is computed once, and U-Nets without a middle block."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import LOOPS, dragnoise
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import ModelError
from dragtext.sdk.model.taps import features_only

from .helpers import noise
from .problems import SHORT, make_problem
from .tiny import tiny_model


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
        own = features_only(model, problem.latent, problem.times.start, problem.text, 0)
    assert torch.allclose(first.bottleneck, own, atol=1e-5)


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
