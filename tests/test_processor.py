"""On the CPU a U-Net computes in bfloat16 where that was measured to pay, and in float32 elsewhere."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from dragtext import sdk
from dragtext.sdk.model import processor
from dragtext.sdk.model.processor import bfloat16_gain, suited_to_processor

WIDE = SimpleNamespace(config=SimpleNamespace(block_out_channels=(320, 640, 1280, 1280)))
NARROW = SimpleNamespace(config=SimpleNamespace(block_out_channels=(64, 128, 128, 192)))
DRAG = [((100.0, 100.0), (120.0, 100.0))]
FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 2, "inference_steps": 4, "strength": 0.5}


@pytest.fixture(autouse=True)
def unmeasured():
    bfloat16_gain.cache_clear()
    yield
    bfloat16_gain.cache_clear()


@pytest.mark.parametrize(
    ("gain", "expected"), [(8.0, torch.bfloat16), (1.5, torch.bfloat16), (1.2, torch.float32), (0.05, torch.float32)]
)
def test_a_wide_unet_takes_what_is_clearly_faster(monkeypatch, gain, expected):
    monkeypatch.setattr(processor, "_measured", lambda: gain)
    assert suited_to_processor(WIDE) == expected


def test_for_a_narrow_one_nothing_is_measured(monkeypatch):
    monkeypatch.setattr(processor, "bfloat16_gain", lambda: pytest.fail("measured"))
    assert suited_to_processor(NARROW) == torch.float32


def test_it_is_measured_once_and_kept(monkeypatch):
    gain = bfloat16_gain()
    assert 0 < gain < 100
    bfloat16_gain.cache_clear()  # as in another process
    monkeypatch.setattr(processor, "_measured", lambda: pytest.fail("measured again"))
    assert bfloat16_gain() == pytest.approx(gain)


def test_it_is_measured_again_where_it_can_be_another(monkeypatch):
    monkeypatch.setattr(processor, "_measured", lambda: 3.0)
    bfloat16_gain()
    bfloat16_gain.cache_clear()
    monkeypatch.setattr(processor, "_facts", lambda: ("another processor",))
    monkeypatch.setattr(processor, "_measured", lambda: 0.5)
    assert bfloat16_gain() == 0.5


def test_where_torch_has_no_such_kernels_it_gains_nothing(monkeypatch):
    def missing(_kind):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'BFloat16'")

    monkeypatch.setattr(processor, "_linear", missing)
    assert bfloat16_gain() == 0
    assert suited_to_processor(WIDE) == torch.float32


@pytest.mark.parametrize("asked", [None, "auto"])
def test_models_load_in_what_suits_them(monkeypatch, asked):
    assert sdk.load_model(device="cpu", dtype=asked).dtype == torch.float32  # the embedded model is small
    monkeypatch.setattr("dragtext.sdk.model.folder.suited_to_processor", lambda _unet: torch.bfloat16)
    model = sdk.load_model(device="cpu", dtype=asked)
    assert model.dtype == torch.bfloat16
    assert {weight.dtype for weight in model.unet.parameters()} == {torch.bfloat16}
    picture = torch.randint(0, 256, (128, 160, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    result = sdk.Editor(model, picture.numpy(), "a cat").drag(DRAG, **FAST)
    assert result.steps == 2
    assert sdk.load_model(device="cpu", dtype="float32").dtype == torch.float32


def test_an_unknown_precision_is_said_with_those_that_there_are():
    with pytest.raises(sdk.InputError, match="must be auto, float32, float16 or bfloat16"):
        sdk.load_model(dtype="int8")
