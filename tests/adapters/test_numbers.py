"""The host adapters over real ldm modules: the same numbers as the diffusers backend."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext.extension.hosts.a1111 import A1111
from dragtext.sdk.drag import LOOPS
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import InputError
from dragtext.sdk.model.taps import features_only

from .conftest import PROMPT, asked, picture, run
from .ldm_host import install


def gradients(model, text, timestep: int = 501):
    latent = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    words = text.tokens.clone().requires_grad_()
    features = features_only(model, latent, timestep, text.with_tokens(words), 3)
    return features.detach(), *torch.autograd.grad(features.float().square().mean(), [latent, words])


def close(a, b, tolerance: float) -> bool:
    return float((a - b).abs().max()) <= tolerance * float(b.abs().max())


def test_the_same_numbers_as_the_diffusers_backend(host, reference):
    expected_text = reference.encode_text(PROMPT)
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with host.turn("x"):
        outcome = host.call(lambda: compare(host, reference, expected_text, image))
    assert outcome is None


@pytest.mark.parametrize("is_sd2", [False, True])
def test_only_the_second_generation_predicting_v_is_made_for_768(host, is_sd2):
    if isinstance(host, A1111):
        host.whole.parameterization, host.whole.is_sd2 = "v", is_sd2
        expected = 768 if is_sd2 else 8 * host.whole.image_size
    else:
        host.engine.forge_objects.unet.model.predictor.prediction_type, host.engine.is_sd2 = "v_prediction", is_sd2
        expected = 768 if is_sd2 else 512
    with host.lend(PROMPT, 0.7) as model:
        assert (model.prediction_type, model.native_resolution) == ("v_prediction", expected)


def compare(host, reference, expected_text, image):
    with host.lend(PROMPT, 0.7) as model:
        text = model.encode_text(PROMPT)
        assert torch.equal(text.tokens, expected_text.tokens)
        assert text.content_length == expected_text.content_length
        for ours, theirs in zip(gradients(model, text), gradients(reference, expected_text)):
            assert close(ours, theirs, 1e-4)
        latent = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        both = text.with_tokens(text.tokens.expand(2, -1, -1))
        with torch.no_grad():
            assert close(model.predict(latent, 300, both), reference.predict(latent, 300, both), 1e-4)
        ours, theirs = model.encode_image(image), reference.encode_image(image)
        assert close(ours.mean, theirs.mean, 1e-4)
        assert close(ours.std, theirs.std, 1e-3)
        assert close(model.decode(theirs.mean), reference.decode(theirs.mean), 1e-4)
        assert torch.allclose(model.alphas_cumprod, reference.alphas_cumprod, atol=1e-6)


@pytest.mark.parametrize("method", LOOPS)
def test_a_whole_edit_is_the_one_of_the_diffusers_backend(host, reference, method):
    # Without a LoRA, whose random beginning depends on the order of the U-Net's modules.
    request = asked(method=method, lora_steps=0)
    job = run(host, request)
    assert (job.state, job.error) == ("done", None)
    expected = Editor(reference, picture(), PROMPT).drag(request.drags, settings=request.settings)
    assert np.array_equal(job.result.trajectory, expected.trajectory)
    assert np.allclose(job.result.losses, expected.losses, rtol=1e-3)
    difference = np.abs(np.array(job.result.image).astype(int) - np.array(expected.image))
    # Adam turns a rounding's sign into a step, so single pixels may differ.
    assert np.quantile(difference, 0.99) <= 4


def test_prompts_that_change_on_the_way_and_that_do_not_fit(host, reference):
    def embedding(prompt: str, strength: float):
        with host.turn("x"), host.lend(prompt, strength) as model:
            return model.encode_text(prompt).tokens

    assert torch.equal(embedding("a cat|the dog", 0.7), reference.encode_text("a cat").tokens)
    assert torch.equal(embedding("a cat|the dog", 0.3), reference.encode_text("the dog").tokens)
    with pytest.raises(InputError, match="AND"):
        embedding("a cat AND a dog", 0.7)


def test_the_fingerprint_changes_with_what_decides_the_numbers(host, monkeypatch, tmp_path):
    def fingerprint(prompt: str = PROMPT, strength: float = 0.7) -> str:
        with host.turn("x"), host.lend(prompt, strength) as model:
            return model.fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint("a|b", 0.7) != fingerprint("a|b", 0.3)
    file = tmp_path / "thing.safetensors"
    file.write_bytes(b"1")
    thing = SimpleNamespace(
        name="thing",
        te_multiplier=1.0,
        unet_multiplier=1.0,
        dyn_dim=None,
        mentioned_name="alias",
        network_on_disk=SimpleNamespace(filename=str(file)),
    )
    install(monkeypatch, "networks", loaded_networks=[thing])
    loaded = fingerprint()
    thing.unet_multiplier = 0.5
    weaker = fingerprint()
    file.write_bytes(b"22")
    assert len({first, loaded, weaker, fingerprint()}) == 4


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_forge_that_samples_gives_the_same_latent_every_time(forge, reference, tiles):
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    forge.engine.forge_objects_original.vae.tiles = tiles
    random = torch.random.get_rng_state()
    with forge.turn("x"), forge.lend(PROMPT, 0.7) as model:
        first, second = model.encode_image(image), model.encode_image(image)
    expected = reference.encode_image(image)
    assert torch.equal(first.mean, second.mean)
    assert close(first.mean, expected.mean, 1e-4)
    # Tiles are blended, so how sure they were is lost.
    assert close(first.std, expected.std, 1e-3) if tiles == 1 else not first.std.any()
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not first.mean.is_inference()
