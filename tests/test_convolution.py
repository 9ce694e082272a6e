"""Fast convolutions are torch's, up to rounding, and are taken only where they gain."""

from __future__ import annotations

import gc
from contextlib import nullcontext

import pytest
import torch
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.convolution import FastConvolutions, Product, Winograd, fast_convolutions
from torch.nn.functional import conv2d

from .tiny import tiny_model


def normal(*shape, seed=0, **kwargs):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **kwargs)


def wide(out, channels, seed=1):
    return normal(out, channels, 3, 3, seed=seed) / (9 * channels) ** 0.5


@pytest.mark.parametrize("way", [Winograd, Product])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (4, 13), (1, 1), (2, 30)])
@pytest.mark.parametrize("count", [1, 3])
def test_values_and_gradients_are_those_of_a_convolution(way, size, count):
    values, weight, weights = normal(count, 16, *size), wide(24, 16), normal(count, 24, *size, seed=2)
    exact = values.double().requires_grad_()
    expected = conv2d(exact, weight.double(), padding=1)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), exact)
    # A view with gaps, as slices and transposed maps are.
    leaf = values.transpose(2, 3).contiguous().transpose(2, 3).requires_grad_()
    result = way.apply(leaf, Winograd.transform(weight) if way is Winograd else weight)
    (gradient,) = torch.autograd.grad((result * weights).sum(), leaf)
    assert result.shape == expected.shape
    assert result.dtype == gradient.dtype == torch.float32
    assert torch.allclose(result.double(), expected, atol=5e-5)
    assert torch.allclose(gradient.double(), wanted, atol=5e-5)


def way_of(values, weight, **kwargs):
    """Name of the autograd node that made the result, and that result, inside the context."""
    watched = torch.nn.Conv2d(weight.shape[1] * kwargs.get("groups", 1), len(weight), weight.shape[2:], **kwargs)
    watched = watched.to(weight.dtype).requires_grad_(False)
    watched.weight, watched.bias = torch.nn.Parameter(weight, requires_grad=False), None
    with FastConvolutions():
        result = watched(values.requires_grad_())
    assert torch.allclose(result, watched(values), atol=1e-4)
    return result.grad_fn.name()


@pytest.mark.parametrize(
    ("shape", "weight", "expected"),
    [
        ((1, 256, 32, 32), (256, 256, 3, 3), "WinogradBackward"),
        ((1, 256, 29, 31), (256, 256, 3, 3), "WinogradBackward"),  # eight tiles each way, the last ones not full
        ((1, 256, 28, 32), (256, 256, 3, 3), "ConvolutionBackward0"),  # too few tiles
        ((4, 256, 16, 16), (256, 256, 3, 3), "ConvolutionBackward0"),  # more pictures need no more memory
        ((1, 128, 32, 32), (256, 128, 3, 3), "ConvolutionBackward0"),  # too narrow
        ((1, 1300, 32, 32), (1300, 1300, 3, 3), "ConvolutionBackward0"),  # too much memory
        ((1, 1280, 8, 8), (640, 1280, 3, 3), "ProductBackward"),
        ((2, 1280, 16, 16), (640, 1280, 3, 3), "ProductBackward"),
        ((3, 1280, 16, 16), (640, 1280, 3, 3), "ConvolutionBackward0"),  # too large
        ((1, 256, 32, 32), (256, 256, 1, 1), "ConvolutionBackward0"),
    ],
)
def test_the_way_follows_size_and_width(shape, weight, expected):
    assert way_of(normal(*shape), normal(*weight, seed=1) / 50, padding=weight[-1] // 2) == expected


@pytest.mark.parametrize(
    "kwargs",
    [{"padding": 0}, {"padding": 1, "stride": 2}, {"padding": 2, "dilation": 2}, {"padding": "same"}],
)
def test_other_convolutions_stay_torchs_own(kwargs):
    assert way_of(normal(1, 256, 40, 40), wide(256, 256), **kwargs) == "ConvolutionBackward0"


def test_groups_double_precision_and_trained_weights_stay_torchs_own():
    values, weight = normal(1, 512, 32, 32), wide(512, 256)
    assert way_of(values, weight, padding=1, groups=2) == "ConvolutionBackward0"
    weight = wide(256, 256)
    values = values[:, :256].detach()
    assert way_of(values.double(), weight.double(), padding=1) == "ConvolutionBackward0"
    weight.requires_grad_()
    with FastConvolutions():
        conv2d(values, weight, None, (1, 1), (1, 1), (1, 1), 1).sum().backward()
    assert weight.grad is not None


def test_changed_weights_are_transformed_again_and_dead_ones_forgotten():
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).requires_grad_(False)
    values, fast = normal(1, 256, 32, 32), FastConvolutions()
    for _ in range(2):
        with fast:
            before = layer(values)
        assert torch.allclose(before, layer(values), atol=1e-4)
        layer.weight *= 3
    assert len(fast._kept) == 1
    del layer
    gc.collect()
    assert len(fast._kept) == 0


def test_weights_first_used_in_inference_mode_can_be_dragged_with_later():
    layer = torch.nn.Conv2d(256, 256, 3, padding=1).requires_grad_(False)
    values, fast = normal(1, 256, 32, 32).requires_grad_(), FastConvolutions()
    with torch.inference_mode(), fast:
        layer(values)
    with fast:
        layer(values).sum().backward()
    assert values.grad is not None


def test_inference_weights_stay_torchs_own():
    with torch.inference_mode():
        layer = torch.nn.Conv2d(256, 256, 3, padding=1).requires_grad_(False)
    values = normal(1, 256, 32, 32)
    with torch.no_grad(), FastConvolutions():
        result = layer(values)
    assert torch.equal(result, layer(values))


@pytest.fixture(scope="module")
def wide_model():
    """A U-Net wide enough for Winograd at 256 px."""
    return tiny_model(width=192)


def gradients(model):
    latent, text = normal(1, 4, 32, 32).requires_grad_(), normal(1, 77, 32, seed=1).requires_grad_()
    prediction = model.predict(latent, 300, Conditioning(text))
    return prediction.detach(), *torch.autograd.grad(prediction.square().sum(), (latent, text))


def test_a_model_predicts_the_same_with_and_without(wide_model, monkeypatch):
    assert isinstance(wide_model._convolutions, FastConvolutions)
    fast = gradients(wide_model)
    assert len(wide_model._convolutions._kept) > 5
    monkeypatch.setattr(wide_model, "_convolutions", nullcontext())
    for value, expected in zip(fast, gradients(wide_model)):
        assert not torch.equal(value, expected)  # the fast way was gone
        assert (value - expected).norm() < 1e-4 * expected.norm()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_error_convolutions_are_torchs_own_again(wide_model, error):
    def fail(*_args):
        raise error

    handle = wide_model.unet.mid_block.register_forward_hook(fail)
    with pytest.raises(error):
        gradients(wide_model)
    handle.remove()
    values = normal(1, 192, 32, 32).requires_grad_()
    layer = wide_model.unet.down_blocks[0].resnets[0].conv1
    assert layer(values).grad_fn.name() == "ConvolutionBackward0"


def test_small_and_other_models_are_not_watched(model):
    assert isinstance(model._convolutions, nullcontext)
    layers = torch.nn.Sequential(torch.nn.Conv2d(256, 256, 3))
    assert isinstance(fast_convolutions(layers), FastConvolutions)
    assert isinstance(fast_convolutions(layers.to(torch.bfloat16)), nullcontext)
