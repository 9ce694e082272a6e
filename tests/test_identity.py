"""The identity LoRA: what it is taught, by which settings, and what the embedded model learns by it."""

from __future__ import annotations

import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS, defaults_of
from dragtext.sdk.evaluation.tasks import drag_task, negative_task
from dragtext.sdk.model import identity
from dragtext.sdk.model.taps import low_rank_adapter
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.settings import catalogue, make_settings


def resolved(**values):
    return make_settings(values).resolve()


@pytest.mark.parametrize("method", LOOPS)
def test_the_quick_fit_goes_as_far_as_the_published_one(method):
    quick, published = resolved(method=method), resolved(method=method, identity="published")
    assert (published.lora_steps, published.lora_lr) == tuple(defaults_of(method)[n] for n in ("lora_steps", "lora_lr"))
    assert published.lora_batch == 4
    assert quick.lora_steps * quick.lora_lr == pytest.approx(published.lora_steps * published.lora_lr, rel=0.15)
    assert 14 * quick.lora_steps * quick.lora_batch <= published.lora_steps * published.lora_batch


def test_what_is_asked_for_is_kept_and_the_rest_follows_it():
    assert resolved(lora_steps=0).lora_steps == 0
    assert resolved(method="warp").lora_steps == 0
    assert resolved(identity="none").lora_steps == 0
    assert resolved(identity="none", lora_steps=9).lora_steps == 9
    assert resolved(method="warp", identity="quick").lora_steps == 20
    assert resolved(method="warp", lora_steps=20).lora_lr == pytest.approx(2e-3)
    assert resolved(lora_steps=80).lora_lr == pytest.approx(5e-4)
    assert resolved(lora_steps=4).lora_lr == pytest.approx(2e-3)  # and not a tenth at once
    asked = resolved(lora_steps=33, lora_lr=1e-4, lora_batch=2)
    assert (asked.lora_steps, asked.lora_lr, asked.lora_batch) == (33, 1e-4, 2)
    assert resolved(identity="published", lora_steps=33).lora_lr == 5e-4


def test_lists_of_settings_show_what_is_really_taken():
    infos = {info.name: info for info in catalogue()}
    assert infos["lora_steps"].by_method == {**dict.fromkeys(LOOPS, 20), "warp": 0}
    assert infos["lora_batch"].default_text == "1"
    assert infos["drag_levels"].default_text == "gooddrag 7"
    assert infos["identity"].choices == ("none", "quick", "published")
    assert infos["identity"].by_method == {**dict.fromkeys(LOOPS, "quick"), "warp": "none"}


@pytest.mark.parametrize(("kind", "most"), [("quick", 0.5), ("published", 1.0)])
def test_which_levels_are_learnt(model, monkeypatch, kind, most):
    seen = []
    predict = type(model).predict

    def watched(self, latent, timestep, conditioning):
        seen.append(timestep)
        return predict(self, latent, timestep, conditioning)

    monkeypatch.setattr(type(model), "predict", watched)
    latents, text = model.encode_image(torch.zeros(1, 3, 64, 64)), model.encode_text("a cat")
    settings = resolved(identity=kind, strength=0.5, lora_steps=6, lora_batch=8)
    for _ in identity.fit(model, latents, text, settings):
        pass
    timesteps = torch.cat(seen)
    assert len(timesteps) == 48
    assert 0.8 * most * 1000 < timesteps.max() <= most * 1000


@pytest.fixture(scope="module")
def shipped():
    return sdk.load_model(device="cpu")


def test_a_sample_of_the_shipped_autoencoder_looks_like_its_mean(shipped):
    """Or else a LoRA would learn noise: training never reads the posterior's width."""
    image = Frame.of(256, 256).image_to_model(drag_task(0, "move").image)
    latents = shipped.encode_image(image)
    drawn = latents.sample(1, torch.Generator().manual_seed(0))
    difference = (shipped.decode(drawn) - shipped.decode(latents.mean)).square().mean()
    assert -10 * difference.log10() > 38  # dB; the picture itself comes back at 34


def test_the_quick_fit_learns_a_look_that_the_model_does_not_know(shipped):
    task = negative_task(0)
    latents = shipped.encode_image(Frame.of(256, 256).image_to_model(task.image))
    text = shipped.encode_text(task.caption)
    *_, weights = identity.fit(shipped, latents, text, resolved(strength=0.7))
    timesteps = torch.tensor([100, 300, 500])
    abar = shipped.alphas_cumprod[timesteps].float()[:, None, None, None]
    noise = torch.randn((3, *latents.mean.shape[1:]), generator=torch.Generator().manual_seed(5))
    noisy = abar.sqrt() * latents.mean + (1 - abar).sqrt() * noise
    wanted = abar.sqrt() * noise - (1 - abar).sqrt() * latents.mean
    words = text.with_tokens(text.tokens.expand(3, -1, -1))
    with torch.no_grad():
        before = (shipped.predict(noisy, timesteps, words) - wanted).square().mean()
        with low_rank_adapter(shipped.unet, weights):
            after = (shipped.predict(noisy, timesteps, words) - wanted).square().mean()
    assert after < 0.6 * before
