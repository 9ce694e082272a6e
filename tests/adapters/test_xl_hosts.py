"""SDXL in both hosts: the numbers of the diffusers backend, no trace, and a sentence for its relatives."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext.extension.hosts.a1111 import A1111
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import ModelError

from ..tiny import tiny_xl
from .conftest import PROMPT, asked, picture, run
from .ldm_host import unchanged
from .test_numbers import close, gradients

SIZE = (64, 128)


@pytest.fixture(scope="module")
def reference():
    return tiny_xl()


def mark_v(host, *, is_zero_terminal: bool = False) -> None:
    """The same weights as a checkpoint that predicts v."""
    host.model.parameterization = "v"
    if isinstance(host, A1111):
        host.model.ztsnr = is_zero_terminal
    else:
        host.engine.forge_objects.unet.model.predictor.prediction_type = "v_prediction"
        host.engine.model_config.ztsnr = is_zero_terminal


def test_the_same_numbers_as_the_diffusers_backend(host, reference):
    image = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(2)) * 2 - 1
    random = torch.random.get_rng_state()
    with host.turn("x"):
        host.call(lambda: compare(host, reference, image))
    assert torch.equal(torch.random.get_rng_state(), random)


def compare(host, reference, image):
    with host.lend(PROMPT, 0.7) as model:
        assert (model.native_resolution, len(model.layout.stages)) == (1024, 3)
        text, expected = model.encode_text(PROMPT, SIZE), reference.encode_text(PROMPT, SIZE)
        assert torch.equal(text.tokens, expected.tokens)
        assert text.content_length == expected.content_length
        for ours, theirs in zip(gradients(model, text), gradients(reference, expected)):
            assert close(ours, theirs, 1e-4)
        latent = torch.randn(2, 4, 8, 16, generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            ours, theirs = (
                kind.predict(latent, torch.tensor([300, 999]), words.with_tokens(words.tokens.expand(2, -1, -1)))
                for kind, words in ((model, text), (reference, expected))
            )
            assert close(ours, theirs, 1e-5)
        for negative in ("", "a cat"):
            text, expected = model.encode_negative(negative, SIZE), reference.encode_negative(negative, SIZE)
            assert torch.equal(text.tokens, expected.tokens)
            assert bool(text.tokens.any()) == bool(negative)
            with torch.no_grad():
                ours, theirs = (
                    kind.predict(latent[:1], 300, words) for kind, words in ((model, text), (reference, expected))
                )
            assert close(ours, theirs, 1e-5)
            other = model.predict(latent[:1], 300, model.encode_text(PROMPT, (1024, 1024)))
        assert not close(ours[:1], other, 1e-4)  # the sizes have a say
        ours, theirs = model.encode_image(image), reference.encode_image(image)
        assert close(ours.mean, theirs.mean, 1e-4)
        assert close(ours.std, theirs.std, 1e-3)
        assert close(model.decode(theirs.mean), reference.decode(theirs.mean), 1e-4)


def test_a_whole_edit_is_the_one_of_the_diffusers_backend(host, reference):
    request = asked(lora_steps=0)
    with unchanged(host.whole):
        job = run(host, request)
    assert (job.state, job.error) == ("done", None)
    expected = Editor(reference, picture(), PROMPT).drag(request.drags, settings=request.settings)
    assert np.allclose(job.result.losses, expected.losses, rtol=1e-3)
    difference = np.abs(np.array(job.result.image).astype(int) - np.array(expected.image))
    assert np.quantile(difference, 0.99) <= 4


def test_no_trace_is_left_by_an_edit_that_fails(host, monkeypatch):
    def show(notice):
        if "dragging 2" in notice.text:
            raise RuntimeError("broken on purpose")

    monkeypatch.setattr(host, "show", show)
    with unchanged(host.whole):
        assert run(host, asked()).state == "failed"
    assert host.log.networks[-1] == "off"


@pytest.mark.parametrize("told", ["file", "setting", None])
def test_v_prediction_down_to_pure_noise(host, told):
    """As the checkpoint says, or its user by the host's setting; eps cannot go there, whatever the setting says."""
    host.log.shared.opts.sd_noise_schedule = "Zero Terminal SNR" if told == "setting" else "Default"
    with host.turn("x"), host.lend(PROMPT, 0.7) as model:
        assert (model.prediction_type, float(model.alphas_cumprod[-1]) > 0) == ("epsilon", True)
        plain = model.fingerprint
    mark_v(host, is_zero_terminal=told == "file")
    with host.turn("x"), host.lend(PROMPT, 0.7) as model:
        expected = tiny_xl(0, "v_prediction", zero_terminal_snr=told is not None).alphas_cumprod
        assert model.prediction_type == "v_prediction"
        assert torch.allclose(model.alphas_cumprod, expected, atol=1e-6)
        assert (float(model.alphas_cumprod[-1]) == 0) == (told is not None)
        assert isinstance(host, A1111) is (model.fingerprint != plain)  # Forge's hash of the file is no stand-in here


def test_what_the_model_is_told_of_sizes_and_crops_is_in_the_fingerprint(host):
    def fingerprint() -> str:
        with host.turn("x"), host.lend(PROMPT, 0.7) as model:
            return model.fingerprint

    host.log.shared.opts.sdxl_crop_top = 0
    first = fingerprint()
    host.log.shared.opts.sdxl_crop_top = 64
    assert fingerprint() != first


def test_a_long_prompt_keeps_its_chunks(host, monkeypatch):
    """Both encoders' tokens in chunks of 77 rows; what is protected ends with the prompt, in the last of them."""
    reader = host.model.conditioner.embedders[0]
    start, end = 1, reader.id_end
    chunks = [SimpleNamespace(tokens=[start, *[5] * 75, end]), SimpleNamespace(tokens=[start, 5, 5, *[end] * 74])]
    monkeypatch.setattr(reader, "tokenize_line", lambda text: (chunks, 77))
    encode = host.model.get_learned_conditioning
    monkeypatch.setattr(
        host.model,
        "get_learned_conditioning",
        lambda texts: {n: torch.cat([t, t], 1) if n == "crossattn" else t for n, t in encode(texts).items()},
    )
    with host.turn("x"), host.lend(PROMPT, 0.7) as model:
        text = model.encode_text(PROMPT, SIZE)
        assert (text.tokens.shape[1], text.content_length) == (154, 77 + 3)
        assert model.predict(torch.randn(1, 4, 8, 8), 300, text).isfinite().all()


def test_an_autoencoder_that_overflows_computes_in_float32(a1111, monkeypatch):
    """As the host does it; SDXL's overflows in half precision while it encodes, too."""
    vae, devices = a1111.model.first_stage_model, sys.modules["modules.devices"]
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with a1111.turn("x"), a1111.lend(PROMPT, 0.7) as model:
        mean, decoded = model.encode_image(image).mean, model.decode(torch.ones(1, 4, 8, 8))
    monkeypatch.setattr(devices, "dtype_vae", torch.bfloat16)
    overflowing = lambda _module, _inputs, output: output * (float("inf") if output.dtype != torch.float32 else 1)  # noqa: E731
    vae.to(torch.bfloat16)
    with a1111.turn("x"), a1111.lend(PROMPT, 0.7) as model:
        for part in (vae.quant_conv, vae.decoder):
            part.register_forward_hook(overflowing)
        assert close(model.encode_image(image).mean, mean, 0.05)
        assert close(model.decode(torch.ones(1, 4, 8, 8)), decoded, 0.05)
        assert next(vae.parameters()).dtype == torch.bfloat16
    vae.to(torch.float32)


def test_in_forge_an_autoencoder_that_overflows_is_a_sentence(forge):
    """Its precision is chosen at the start; the host makes a black picture of it."""
    vae = forge.engine.forge_objects.vae.first_stage_model
    with forge.turn("x"), forge.lend(PROMPT, 0.7) as model:
        for part, call in (
            (vae.quant_conv, lambda: model.encode_image(torch.zeros(1, 3, 64, 64))),
            (vae.decoder, lambda: model.decode(torch.zeros(1, 4, 8, 8))),
        ):
            broken = part.register_forward_hook(lambda _module, _inputs, output: output * float("nan"))
            with broken, pytest.raises(ModelError, match="--vae-in-fp32"):
                call()


def test_its_relatives_get_a_sentence(host):
    def refused(words: str) -> None:
        job = run(host, asked())
        assert job.state == "failed"
        assert words in str(job.error)
        assert "SDXL; choose such a checkpoint" in str(job.error)

    if isinstance(host, A1111):
        readers = host.model.conditioner.embedders
        second = readers.pop(1)
        refused("refiner")
        readers.insert(1, second)
        for flag, words in (("is_ssd", "SSD-1B"), ("is_sdxl_inpaint", "inpainting")):
            setattr(host.model, flag, True)
            refused(words)
            setattr(host.model, flag, False)
    else:
        first = host.engine.text_processing_engine_l
        del host.engine.text_processing_engine_l
        refused("refiner")
        host.engine.text_processing_engine_l = first
        host.engine.is_inpaint = True
        refused("inpainting")
