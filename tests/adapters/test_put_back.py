"""What an edit takes off a host or changes in it, and puts back."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext.extension.hosts.forge import Forge

from .conftest import PROMPT, asked, run
from .ldm_host import unchanged


def test_a1111_puts_back_what_it_takes_off(a1111):
    model, log = a1111.whole, a1111.log
    model.applied_token_merged_ratio = 0.5
    log.hijack.circular_enabled = True
    log.sd_hijack.current_optimizer = SimpleNamespace(name="xformers", title=lambda: "xformers")
    with a1111.turn("x"), a1111.lend(PROMPT, 0.7):
        assert model.applied_token_merged_ratio == 0
        assert not log.hijack.circular_enabled
        assert log.optimizations == ["sdp - scaled dot product"]
    assert model.applied_token_merged_ratio == 0.5
    assert log.hijack.circular_enabled
    assert log.optimizations == ["sdp - scaled dot product", "xformers"]
    assert log.reloaded == [True]


def test_what_other_extensions_left_on_the_model_is_off_during_an_edit_and_put_back(host):
    unet = host.unet
    blocks = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    transformers = [module for module in unet.modules() if type(module).__name__ == "BasicTransformerBlock"]
    attentions = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    expected = run(host, asked())
    assert expected.state == "done"

    def broken(*_args, **_more):
        raise RuntimeError("control_params of a generation that is over")

    is_forge = isinstance(host, Forge)
    autoencoder = host.engine.forge_objects.vae.first_stage_model if is_forge else host.whole.first_stage_model
    leftovers = [(module, "forward") for module in [unet, *blocks, *attentions, autoencoder.encoder]]
    leftovers += [(module, "_forward") for module in transformers]
    if not is_forge:
        leftovers += [(host.whole, "apply_model"), (host.log.th, "cat"), (host.whole.model, "forward")]
    for owner, name in leftovers:
        setattr(owner, name, broken)
    hook = attentions[0].register_forward_hook(broken)
    try:
        with unchanged(host.whole):
            job = run(host, asked())
            assert (job.state, job.error) == ("done", None)
        assert np.array_equal(np.array(job.result.image), np.array(expected.result.image))
        assert all(vars(owner)[name] is broken for owner, name in leftovers)
        assert list(attentions[0]._forward_hooks.values()) == [broken]
    finally:
        hook.remove()
        for owner, name in leftovers:
            del vars(owner)[name]


def test_leftovers_are_put_back_after_an_edit_that_failed(host, monkeypatch):
    def show(_notice):
        raise RuntimeError("broken on purpose")

    def left(*_args, **_more):
        raise RuntimeError("left")

    host.unet.forward = left
    monkeypatch.setattr(host, "show", show)
    assert run(host, asked()).state == "failed"
    assert vars(host.unet)["forward"] is left


def test_forges_weights_as_they_come_have_no_gradients(forge, reference):
    latent = torch.randn(1, 4, 8, 8, requires_grad=True)
    text = reference.encode_text(PROMPT).tokens
    with pytest.raises(RuntimeError, match=r"[Ii]nference tensors"):
        forge.unet(latent, torch.tensor([1.0]), context=text).sum().backward()


def test_forge_works_in_its_main_thread_with_a_differentiable_attention(forge, monkeypatch):
    seen = []
    monkeypatch.setattr(forge, "show", lambda _notice: seen.append(forge.log.unet_module.attention_function))
    assert run(forge, asked()).state == "done"
    assert set(seen) == {"differentiable"}
    assert forge.log.unet_module.attention_function == "chunked"
    assert forge.log.operations.merge_lora_to_weight == "merge"
    assert forge.log.threads == ["forge main"]
    assert max(forge.log.loads) >= 1000.0 * 8 * 16  # room for the graph is asked for


def test_forge_loses_nothing_that_is_raised_in_its_main_thread(forge):
    def fail():
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        forge.call(fail)


def test_forge_uses_the_bare_model_and_puts_back_what_was_patched(forge):
    patched = forge.engine.forge_objects = forge.engine.forge_objects.shallow_copy()
    with forge.turn("x"), forge.lend(PROMPT, 0.7):
        assert forge.engine.forge_objects is not patched
    assert forge.engine.forge_objects is patched


def test_forge_recovers_from_a_failed_load(forge, monkeypatch):
    models = sys.modules["modules.sd_models"]
    monkeypatch.setattr(
        models,
        "forge_model_reload",
        lambda: (None if models.model_data.forge_hash else forge.engine, True),
    )
    assert run(forge, asked()).state == "done"
