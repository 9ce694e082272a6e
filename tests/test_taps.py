"""Whatever is done to a U-Net is undone: after success, exception and interrupt it is bit for bit what it was."""

from __future__ import annotations

import copy

import pytest
import torch
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.taps import (
    features_and_prediction,
    features_only,
    low_rank_adapter,
    projections,
    remember,
    replace_mid,
    share_attention,
)


def inputs(batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 4, 8, 8, generator=generator), torch.randn(batch, 77, 32, generator=generator)


def predict(model, batch=1):
    latent, text = inputs(batch)
    with torch.no_grad():
        return model.predict(latent, 500, Conditioning(text))


def snapshot(model):
    state = {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}
    hooks = {name: len(m._forward_hooks) + len(m._forward_pre_hooks) for name, m in model.unet.named_modules()}
    gradients = {name: (p.requires_grad, p.grad is None) for name, p in model.unet.named_parameters()}
    replaced = [name for name, module in model.unet.named_modules() if "forward" in vars(module)]
    return state, (hooks, replaced), gradients, model.unet.training, predict(model, 2)


def assert_unchanged(model, before):
    state, hooks, gradients, training, output = snapshot(model)
    assert all(torch.equal(state[name], tensor) for name, tensor in before[0].items())
    assert (hooks, gradients, training) == before[1:4]
    assert torch.equal(output, before[4])


def random_adapter(model, scale=0.1):
    generator = torch.Generator().manual_seed(3)
    return {
        path: (
            torch.randn(4, layer.in_features, generator=generator) * scale,
            torch.randn(layer.out_features, 4, generator=generator) * scale,
        )
        for path, layer in projections(model.unet).items()
    }


@pytest.mark.parametrize("ending", [None, ValueError, KeyboardInterrupt])
def test_the_model_is_what_it_was(model, ending):
    before = snapshot(model)
    latent, text = inputs(2)

    def use():
        with (
            low_rank_adapter(model.unet, random_adapter(model)),
            share_attention(model, 2),
            remember(model.layout.encoder, {}),
            replace_mid(model, torch.zeros(1)),
        ):
            changed = model.predict(latent, 500, Conditioning(text))
            assert not torch.equal(changed, before[4])
            features_only(model, latent, 500, Conditioning(text), 3)
            if ending:
                raise ending

    if ending is None:
        use()
    else:
        with pytest.raises(ending):
            use()
    assert_unchanged(model, before)


def test_an_exception_inside_the_forward_leaves_no_hook(model):
    before = snapshot(model)
    latent, text = inputs()
    with pytest.raises(RuntimeError):
        features_only(model, latent[:, :3], 500, Conditioning(text), 3)
    assert_unchanged(model, before)


@pytest.mark.parametrize("block", [0, 1, 2, 3, 4])
def test_early_exit_gives_the_same_features_and_computes_less(model, block):
    latent, text = inputs()
    with torch.no_grad():
        full, prediction = features_and_prediction(model, latent, 500, Conditioning(text), block)
        calls = []
        handle = model.unet.conv_out.register_forward_hook(lambda *_: calls.append(1))
        try:
            assert torch.equal(features_only(model, latent, 500, Conditioning(text), block), full)
        finally:
            handle.remove()
    assert not calls
    assert torch.equal(prediction, predict(model))


def test_shared_attention_uses_the_reference_and_leaves_it_alone(model):
    latents, text = inputs(2)
    with torch.no_grad():
        plain = model.predict(latents, 500, Conditioning(text))
        with share_attention(model, 2):
            shared = model.predict(latents, 500, Conditioning(text))
            twins = model.predict(latents[:1].expand(2, -1, -1, -1), 500, Conditioning(text[:1].expand(2, -1, -1)))
    assert torch.allclose(shared[0], plain[0], atol=1e-6)
    assert (shared[1] - plain[1]).abs().max() > 1e-3
    assert torch.allclose(twins[0], twins[1], atol=1e-6)


def test_the_adapter_equals_merged_weights(model):
    """W x + up(down(x)) must be (W + up down) x; peft computes the same (scale 1)."""
    adapter = random_adapter(model)
    latent, text = inputs()
    merged = copy.deepcopy(model)
    with torch.no_grad():
        for path, (down, up) in adapter.items():
            merged.unet.get_submodule(path).weight += up @ down
        expected = merged.predict(latent, 500, Conditioning(text))
        with low_rank_adapter(model.unet, adapter):
            actual = model.predict(latent, 500, Conditioning(text))
    assert (actual - predict(model)).abs().max() > 1e-3
    assert torch.allclose(actual, expected, atol=1e-4)


def test_the_adapter_equals_peft(model):
    peft = pytest.importorskip("peft")
    adapter = random_adapter(model)
    latent, text = inputs()
    other = copy.deepcopy(model)
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["to_q", "to_k", "to_v", "to_out.0"])
    other.unet = peft.inject_adapter_in_model(config, other.unet)
    with torch.no_grad():
        for path, (down, up) in adapter.items():
            layer = other.unet.get_submodule(path)
            layer.lora_A["default"].weight.copy_(down)
            layer.lora_B["default"].weight.copy_(up)
        with low_rank_adapter(model.unet, adapter):
            actual = model.predict(latent, 500, Conditioning(text))
        assert torch.allclose(actual, other.predict(latent, 500, Conditioning(text)), atol=1e-4)


def test_a_remembered_module_computes_once_and_its_hooks_still_run(model):
    latent, text = inputs()
    block, outputs, seen = model.unet.down_blocks[1], {}, []
    inner = block.resnets[0].register_forward_hook(lambda *_: seen.append("computed"))
    outer = block.register_forward_hook(lambda *_: seen.append("hook"))
    try:
        with torch.no_grad():
            plain = model.predict(latent, 500, Conditioning(text))
            seen.clear()
            for _ in range(3):
                with remember([block], outputs):
                    again = model.predict(latent, 500, Conditioning(text))
    finally:
        inner.remove()
        outer.remove()
    assert torch.equal(again, plain)
    assert seen == ["computed", "hook", "hook", "hook"]


def test_the_replaced_mid_block_goes_as_far_as_its_share(model):
    latents, text = inputs(2)
    with torch.no_grad():
        plain = model.predict(latents, 500, Conditioning(text))
        own = features_only(model, latents, 500, Conditioning(text), 0)
        other = own[:1] + 1
        with replace_mid(model, other, torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)):
            mixed = model.predict(latents, 500, Conditioning(text))
        with replace_mid(model, other):
            replaced = model.predict(latents, 500, Conditioning(text))
    assert torch.allclose(mixed[0], plain[0], atol=1e-6)
    assert torch.equal(mixed[1], replaced[1])
    assert (replaced[0] - plain[0]).abs().max() > 1e-4
