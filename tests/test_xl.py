"""SDXL headless, on a miniature of its form: what diffusers' pipeline computes, every method, every file."""

from __future__ import annotations

import copy
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionXLPipeline
from dragtext import sdk
from dragtext.sdk.command import app
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.model.base import UNetLayout
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.schedule import alpha_bar
from dragtext.sdk.model.taps import features_only, projections, self_attentions
from PIL import Image
from safetensors.torch import save_file

from .helpers import noise
from .problems import make_problem
from .tiny import (
    SECOND_WIDTH,
    TEXT_WIDTH,
    XL_SCALE,
    single_file_weights,
    tiny_model,
    tiny_xl,
    write_diffusers_folder,
    xl_single_file_weights,
)

FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
DRAG = [((20, 20), (60, 50))]
PROMPT = "a red cat, the dog"
UNET, FIRST, OTHER = "model.diffusion_model.", "conditioner.embedders.0.", "conditioner.embedders.1."


@pytest.fixture(scope="module")
def v_model():
    """As NoobAI's v models are: v prediction, and the last level is pure noise."""
    return tiny_xl(1, "v_prediction", zero_terminal_snr=True)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return xl_single_file_weights()


def pipeline_of(model: Any) -> StableDiffusionXLPipeline:
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1, prediction_type=model.prediction_type,
    )  # fmt: skip
    pipe = StableDiffusionXLPipeline(
        vae=model.vae, text_encoder=model.text_encoder, text_encoder_2=model.text_encoder_2, tokenizer=model.tokenizer,
        tokenizer_2=model.tokenizer_2, unet=model.unet, scheduler=scheduler, add_watermarker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    return pipe


# The numbers of diffusers' own pipeline


@pytest.mark.parametrize("prompt", ["", PROMPT, "cat " * 80])
def test_text_is_that_of_the_pipeline(xl, prompt):
    tokens, _, pooled, _ = pipeline_of(xl).encode_prompt(prompt, device="cpu", do_classifier_free_guidance=False)
    found = xl.encode_text(prompt, (64, 80))
    assert (found.tokens - tokens).abs().max() < 1e-5
    assert (found.fixed["text_embeds"] - pooled).abs().max() < 1e-5
    assert found.tokens.shape == (1, 77, TEXT_WIDTH + SECOND_WIDTH)
    assert found.content_length == {"": 1, PROMPT: 7}.get(prompt, 76)


def test_the_prediction_is_that_of_the_pipeline(xl):
    """Whatever its pipeline gives to the U-Net in a generation, ours gives too: latent for latent the same output."""
    calls = []

    def listen(_module, inputs, _named, output):
        calls.append((inputs[0].clone(), int(inputs[1]), output[0].clone()))

    handle = xl.unet.register_forward_hook(listen, with_kwargs=True)
    with handle:
        pipeline_of(xl)(PROMPT, height=64, width=80, num_inference_steps=3, guidance_scale=1.0, output_type="latent")
    conditioning = xl.encode_text(PROMPT, (64, 80))
    assert len(calls) == 3
    with torch.no_grad():
        for latent, timestep, output in calls:
            assert latent.shape == (1, 4, 8, 10)
            assert (xl.predict(latent, timestep, conditioning) - output).abs().max() < 1e-5
        other = xl.predict(latent, timestep, xl.encode_text(PROMPT, (1024, 1024)))
    assert (other - output).abs().max() > 1e-4  # the sizes have a say


def test_a_batch_is_its_items(xl):
    latents = torch.randn(3, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    words = xl.encode_text(PROMPT, (64, 64))
    with torch.no_grad():
        both = xl.predict(latents, 300, words.with_tokens(words.tokens.expand(3, -1, -1)))
        for index, latent in enumerate(latents):
            assert torch.allclose(xl.predict(latent[None], 300, words)[0], both[index], atol=1e-5)


# Which stage is which


def test_stages_are_numbered_by_what_they_are(xl, model):
    """The last is 4, the one before it 3: the same scale in both families, whatever their number of stages."""
    latent = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        sides = {
            kind.name: [features_only(kind, latent, 500, kind.encode_text(""), block).shape[-1] for block in (2, 3, 4)]
            for kind in (xl, model)
        }
    assert sides == {"tiny-xl": [8, 16, 16], "tiny": [8, 16, 16]}
    assert xl.layout.stage(3) is xl.layout.stages[1]
    assert model.layout.stage(3) is model.layout.stages[2]


def test_a_stage_that_is_not_there_is_a_sentence_before_any_work(xl):
    with pytest.raises(sdk.InputError, match=r"has 3 stages, 2 to 4; use one of them\.$"):
        sdk.Editor(xl, noise()).drag(DRAG, **FAST, feature_block=1)
    assert UNetLayout((), None, xl.layout.stages[:2]).stage(4) is xl.layout.stages[1]


# The loops


@pytest.mark.parametrize("text", [True, False])
@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize("kind", ["xl", "v_model"])
def test_every_method_moves_and_leaves_the_model_alone(request, kind, method, text):
    model = request.getfixturevalue(kind)
    before = [tensor.clone() for tensor in model.unet.state_dict().values()]
    problem = make_problem(model, method, text=text, gradients="joint")
    steps = list(loop_of(method)(problem))
    assert any(step.updated for step in steps)
    last = steps[-1]
    begin, end = steps[0].latent, last.latent
    if method == "dragnoise":
        begin, end = steps[0].bottleneck, last.bottleneck
    assert end.isfinite().all()
    assert not torch.equal(begin, end)
    moved = (last.text - problem.text.tokens).abs()
    for part in (moved[..., :TEXT_WIDTH], moved[..., TEXT_WIDTH:]):  # both encoders' tokens, or neither's
        assert (part.max() > 0) == text
    assert all(map(torch.equal, before, model.unet.state_dict().values()))
    assert not any(module._forward_hooks or "forward" in vars(module) for module in model.unet.modules())


@pytest.mark.parametrize("kind", ["xl", "v_model"])
def test_an_edit_from_picture_to_picture_and_back_from_the_disk(request, kind, tmp_path):
    model = request.getfixturevalue(kind)
    result = sdk.Editor(model, noise(), PROMPT).drag(DRAG, **FAST)
    assert result.image.size == (93, 70)
    expected = model.encode_text(PROMPT, (72, 96))  # padded to whole cells
    assert result.rendering.fixed.keys() == expected.fixed.keys()
    assert all(torch.equal(result.rendering.fixed[name], value) for name, value in expected.fixed.items())
    assert result.rendering.identity.keys() == projections(model.unet).keys()
    path = result.save_state(tmp_path / "edit.safetensors")
    again = sdk.open_result(path, model)
    for v in (0.5, 1.0):
        assert np.array_equal(np.array(again.at(v)), np.array(result.at(v)))
    assert np.array_equal(np.array(result.at(1)), np.array(result.image))


def test_pure_noise_is_where_the_v_models_schedule_ends(v_model):
    assert alpha_bar(v_model, 999) == 0
    result = sdk.Editor(v_model, noise(), PROMPT).drag(DRAG, **{**FAST, "strength": 1.0, "lora_steps": 0})
    assert result.stopped != "diverged"


def test_attention_is_shared_in_the_last_stages_that_have_any(xl):
    assert [len(self_attentions(stage)) for stage in xl.layout.stages] == [4, 2, 0]


# A pipeline that is loaded already


def test_a_pipeline_is_used_and_left_as_it_was():
    own = tiny_xl()
    pipe = pipeline_of(own)
    parts = (pipe.unet, pipe.vae, pipe.text_encoder, pipe.text_encoder_2)
    for part in parts:
        part.requires_grad_(True)
    pipe.text_encoder_2.train()
    before = [copy.deepcopy(part.state_dict()) for part in parts]
    model = tiny_xl()
    model.alphas_cumprod = pipe.scheduler.alphas_cumprod.double()
    expected = sdk.Editor(model, noise(), PROMPT).drag(DRAG, **FAST)
    result = sdk.Editor.from_pipeline(pipe, noise(), PROMPT).drag(DRAG, **FAST)
    assert np.array_equal(np.array(result.image), np.array(expected.image))
    for part, state in zip(parts, before):
        assert all(parameter.requires_grad for parameter in part.parameters())
        assert all(map(torch.equal, state.values(), part.state_dict().values()))
    assert pipe.text_encoder_2.training
    assert not pipe.unet.training


def test_half_precision_of_the_unet_alone():
    model = tiny_xl(dtype=torch.bfloat16)
    assert {p.dtype for p in model.unet.parameters()} == {torch.bfloat16}
    for part in (model.vae, model.text_encoder, model.text_encoder_2):
        assert {p.dtype for p in part.parameters()} == {torch.float32}
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    prediction = model.predict(latent, 500, model.encode_text(PROMPT))
    exact = tiny_xl().predict(latent, 500, model.encode_text(PROMPT))
    assert (prediction - exact).abs().mean() < 0.05 * exact.abs().mean()


# Files


def saved(path: Path, weights: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, str(path), metadata=metadata)
    return path


def test_a_folder(tmp_path):
    path = write_diffusers_folder(tmp_path / "xl", xl=True)
    loaded = load_model(path)
    expected = tiny_xl()
    assert loaded.fingerprint == expected.fingerprint
    assert (loaded.latent_scale, loaded.native_resolution) == (XL_SCALE, 64)
    one, other = (m.encode_text(PROMPT, (64, 64)) for m in (loaded, expected))
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.fixed["text_embeds"], other.fixed["text_embeds"])
    changed = tiny_xl()
    with torch.no_grad():
        changed.text_encoder_2.text_projection.weight *= 1.001
    assert type(changed).__name__ == "DiffusersModel"
    assert sdk.Editor.from_pipeline(pipeline_of(changed), noise()).model.fingerprint != loaded.fingerprint


def test_a_folder_of_v_prediction(tmp_path):
    path = write_diffusers_folder(tmp_path / "xl", xl=True, prediction_type="v_prediction", zero_terminal_snr=True)
    loaded = load_model(path)
    assert loaded.prediction_type == "v_prediction"
    assert loaded.alphas_cumprod[-1] == 0


# The ways in which the field writes the same checkpoint.
NAMES = {
    "original": lambda w: w,
    "wrapped": lambda w: {f"state_dict.{n}": t for n, t in w.items()},
    "transformers": lambda w: {
        **{n: t for n, t in w.items() if not n.startswith(OTHER)},
        **{f"text_encoder_2.{n}": t for n, t in tiny_xl(clip_vocabulary=True).text_encoder_2.state_dict().items()},
    },
    "clip_g": lambda w: {
        n.replace(f"{FIRST}transformer.", "text_encoders.clip_l.transformer.").replace(
            f"{OTHER}model.", "text_encoders.clip_g."
        ): t
        for n, t in w.items()
    },
    "parts": lambda w: {
        **{n: t for n, t in w.items() if not n.startswith((OTHER, FIRST, UNET))},
        **{
            f"{part}.{n}": t
            for part in ("unet", "text_encoder", "text_encoder_2")
            for n, t in getattr(tiny_xl(clip_vocabulary=True), part).state_dict().items()
        },
    },
}


@pytest.mark.parametrize("way", NAMES)
def test_a_single_file(way, weights, tmp_path):
    loaded = load_model(saved(tmp_path / "xl.safetensors", NAMES[way](weights)))
    expected = tiny_xl(clip_vocabulary=True)
    assert loaded.fingerprint == expected.fingerprint
    assert (loaded.latent_scale, loaded.native_resolution, loaded.prediction_type) == (XL_SCALE, 1024, "epsilon")
    one, other = (m.encode_text("a photo of a red cat", (64, 64)) for m in (loaded, expected))
    assert torch.allclose(one.tokens, other.tokens, atol=1e-5)
    assert torch.allclose(one.fixed["text_embeds"], other.fixed["text_embeds"], atol=1e-5)
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(loaded.predict(latent, 401, one), expected.predict(latent, 401, other), atol=1e-5)


def test_our_names_are_those_of_diffusers_converters(weights):
    """What diffusers' own reader makes of the file: weight for weight the networks that it was written from."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_open_clip_checkpoint

    model = tiny_xl(clip_vocabulary=True)
    unet = convert_ldm_unet_checkpoint(dict(weights), dict(model.unet.config))
    expected = model.unet.state_dict()
    assert unet.keys() == expected.keys()
    assert all(torch.equal(unet[name], value) for name, value in expected.items())
    second = convert_open_clip_checkpoint(model.text_encoder_2, dict(weights), prefix=f"{OTHER}model.")
    for name, value in model.text_encoder_2.state_dict().items():
        assert torch.equal(second[name], value)


def test_what_a_file_says_of_its_prediction(weights, tmp_path):
    marked = load_model(
        saved(tmp_path / "v.safetensors", weights | {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)})
    )
    assert marked.prediction_type == "v_prediction"
    assert marked.alphas_cumprod[-1] == 0
    path = saved(tmp_path / "m.safetensors", weights, **{"modelspec.prediction_type": "v"})
    assert load_model(path).prediction_type == "v_prediction"


def test_another_autoencoder_must_be_of_the_family(weights, tmp_path):
    own = saved(tmp_path / "xl.safetensors", weights)
    alone = {n: t for n, t in weights.items() if n.startswith("first_stage_model.")}
    without = saved(tmp_path / "none.safetensors", {n: t for n, t in weights.items() if n not in alone})
    assert "--vae" in refusal(without)
    for source in (own, saved(tmp_path / "vae.safetensors", alone)):
        loaded = load_model(without, vae=source)
        assert loaded.latent_scale == XL_SCALE
        assert loaded.fingerprint == load_model(own).fingerprint
    older = saved(tmp_path / "older.safetensors", single_file_weights())
    assert "another kind" in refusal(own, vae=older)
    assert "another kind" in refusal(older, vae=own)


def test_a_file_on_the_command_line(weights, tmp_path, monkeypatch, capsys):
    model, picture = saved(tmp_path / "xl.safetensors", weights), tmp_path / "in.png"
    Image.fromarray(noise()).save(picture)
    arguments = ["edit", str(picture), "--model", str(model), "--prompt", "a cat", "--drag", "20,20:60,50"]
    arguments += ["--steps", "1", "--lora-steps", "0", "--inference-steps", "4", "--device", "cpu"]
    monkeypatch.setattr(sys, "argv", ["dragtext", *arguments, "-o", str(tmp_path / "out.png")])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert not end.value.code, capsys.readouterr().err
    assert Image.open(tmp_path / "out.png").size == (93, 70)


# What is refused


def refusal(source: Path, **options: Any) -> str:
    with pytest.raises(sdk.ModelError) as caught:
        load_model(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


CHANGES = {
    "refiner": lambda w: {n.replace(OTHER, FIRST): t for n, t in w.items() if not n.startswith(FIRST)},
    "inpainting": lambda w: w | {f"{UNET}input_blocks.0.0.weight": torch.zeros(64, 9, 3, 3)},
    "8 input channels": lambda w: w | {f"{UNET}input_blocks.0.0.weight": torch.zeros(64, 8, 3, 3)},
    "another noise schedule": lambda w: w | {"edm_mean": torch.zeros(4), "edm_std": torch.zeros(4)},
    "without its text encoders": lambda w: {n: t for n, t in w.items() if "conditioner." not in n},
    "without its second text encoder": lambda w: {n: t for n, t in w.items() if not n.startswith(OTHER)},
    "without its first text encoder": lambda w: {n: t for n, t in w.items() if not n.startswith(FIRST)},
    "text_projection": lambda w: {n: t for n, t in w.items() if not n.endswith("text_projection")},
    "3 blocks deep": lambda w: w | {f"{UNET}middle_block.1.transformer_blocks.2.norm1.bias": torch.zeros(128)},
}  # fmt: skip


@pytest.mark.parametrize("words", CHANGES)
def test_files_that_are_refused(words, weights, tmp_path):
    assert words in refusal(saved(tmp_path / "m.safetensors", CHANGES[words](weights)))


def test_folders_that_are_refused(tmp_path):
    path = write_diffusers_folder(tmp_path / "xl", xl=True)
    index = path / "model_index.json"
    for kind in ("StableDiffusionXLInpaintPipeline", "StableDiffusionXLControlNetPipeline"):
        index.write_text(json.dumps({"_class_name": kind}))
        assert kind in refusal(path)
    index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    assert "different families" in refusal(path)
    index.write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    shutil.move(path / "tokenizer_2", tmp_path / "aside")
    assert "tokenizer_2/vocab.json" in refusal(path)
    shutil.move(tmp_path / "aside", path / "tokenizer_2")
    config = path / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"projection_class_embeddings_input_dim": 88}))
    assert refusal(path)
    shutil.rmtree(path / "text_encoder")
    assert "refiner" in refusal(path)


def test_it_is_not_exported(tmp_path):
    from dragtext.sdk.model.export import export_checkpoint

    with pytest.raises(sdk.ModelError, match="can be exported"):
        export_checkpoint(tiny_xl(), tmp_path / "m.safetensors")


def test_the_other_families_know_nothing_of_it(model):
    assert model.encode_text(PROMPT, (64, 80)).fixed == {}
    assert tiny_model(version=2).text_encoder_2 is None
