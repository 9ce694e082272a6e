"""A loaded model: the same from a folder and from a file, its prompts, its fingerprint, and arguments."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dragtext.sdk.errors import InputError
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.diffusers import scaled_linear_alphas
from dragtext.sdk.model.keys import unet_names
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.vocabulary import clip_tokenizer

from ..tiny import tiny_model, write_diffusers_folder, write_single_file
from .conftest import UNET, refusal


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 32, generator=generator)


def test_folder_equals_the_model_it_was_saved_from(saved: Path) -> None:
    model, loaded = tiny_model(), load_model(saved)
    latent, text = inputs()
    assert torch.equal(model.predict(latent, 401, Conditioning(text)), loaded.predict(latent, 401, Conditioning(text)))
    assert loaded.fingerprint == model.fingerprint
    assert loaded.name == "tiny"


@pytest.mark.parametrize("version", [1, 2])
def test_single_file_equals_folder_bit_for_bit(version: int, tmp_path: Path) -> None:
    options = {"version": version, "clip_vocabulary": True}
    one = load_model(write_diffusers_folder(tmp_path / "folder", **options))
    other = load_model(write_single_file(tmp_path / "file.safetensors", version=version))
    latent, text = inputs()
    image = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.equal(one.predict(latent, 401, Conditioning(text)), other.predict(latent, 401, Conditioning(text)))
    assert torch.equal(one.encode_text("a red cat").tokens, other.encode_text("a red cat").tokens)
    assert torch.equal(one.encode_image(image).mean, other.encode_image(image).mean)
    assert torch.equal(one.decode(latent), other.decode(latent))
    assert one.fingerprint == other.fingerprint
    assert other.prediction_type == "epsilon"


def test_names_agree_with_the_converter_of_diffusers(weights: dict[str, torch.Tensor]) -> None:
    convert = pytest.importorskip("diffusers.loaders.single_file_utils")
    model = tiny_model(clip_vocabulary=True)
    for module, function in (
        (model.unet, convert.convert_ldm_unet_checkpoint),
        (model.vae, convert.convert_ldm_vae_checkpoint),
    ):
        converted, expected = function(dict(weights), dict(module.config)), module.state_dict()
        assert converted.keys() == expected.keys()
        assert all(torch.equal(converted[name], expected[name]) for name in expected)


def test_names_of_stable_diffusion_1_5() -> None:
    """Literal names of the published checkpoint, where the converter of diffusers is lenient."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(cross_attention_dim=768)
    names = unet_names(unet.state_dict())
    assert len(set(names.values())) == len(names) == 686
    assert {
        UNET + "input_blocks.3.0.op.weight",
        UNET + "input_blocks.11.0.out_layers.3.bias",
        UNET + "middle_block.1.transformer_blocks.0.attn2.to_out.0.bias",
        UNET + "output_blocks.2.1.conv.weight",
        UNET + "output_blocks.5.2.conv.weight",
        UNET + "output_blocks.8.2.conv.weight",
        UNET + "output_blocks.11.1.proj_out.weight",
        UNET + "out.2.weight",
    } <= set(names.values())


def test_weights_do_not_lie_in_the_mapped_file(saved: Path) -> None:
    model = load_model(saved)
    for module in (model.unet, model.vae, model.text_encoder):
        assert all(parameter.data_ptr() % 64 == 0 for parameter in module.parameters())


def test_predict_is_differentiable_but_weights_are_frozen() -> None:
    model = tiny_model()
    latent, text = (tensor.requires_grad_() for tensor in inputs())
    for_latent, for_text = torch.autograd.grad(
        model.predict(latent, 1, Conditioning(text)).square().sum(), (latent, text)
    )
    assert for_latent.abs().sum() > 0
    assert for_text.abs().sum() > 0
    for module in (model.unet, model.vae, model.text_encoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_half_precision_stays_inside() -> None:
    model = tiny_model(dtype=torch.bfloat16)
    latent, text = inputs()
    prediction = model.predict(latent, 401, Conditioning(text))
    assert prediction.dtype == torch.float32
    assert next(model.unet.parameters()).dtype == torch.bfloat16
    assert next(model.vae.parameters()).dtype == torch.float32
    assert model.encode_text("a cat").tokens.dtype == torch.float32
    exact = tiny_model().predict(latent, 401, Conditioning(text))
    assert 0 < (prediction - exact).abs().max() < 0.2 * exact.abs().max()


def test_image_to_latent_and_back_has_the_documented_shapes_and_ranges() -> None:
    model = tiny_model()
    image = torch.rand(1, 3, 72, 40) * 2 - 1
    encoded = model.encode_image(image)
    assert encoded.mean.shape == encoded.std.shape == (1, 4, 9, 5)
    raw = model.vae.encode(image).latent_dist
    assert torch.allclose(encoded.mean, raw.mean * 0.18215)
    assert torch.allclose(encoded.std, raw.std * 0.18215)
    decoded = model.decode(encoded.mean * 9)
    assert decoded.shape == (1, 3, 72, 40)
    assert decoded.min() == 0
    assert decoded.max() == 1


def test_layout_is_the_mid_block_and_four_stages() -> None:
    model = tiny_model()
    assert model.layout.mid is model.unet.mid_block
    assert [stage.outlet for stage in model.layout.stages] == list(model.unet.up_blocks)


def test_schedule_matches_diffusers() -> None:
    from diffusers import DDIMScheduler

    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    for zero in (False, True):
        expected = DDIMScheduler(**options, rescale_betas_zero_snr=zero).alphas_cumprod.double()
        assert torch.allclose(scaled_linear_alphas(zero_terminal_snr=zero), expected, atol=2e-6, rtol=0)
    assert scaled_linear_alphas()[681].item() == pytest.approx(0.09464, abs=1e-5)


# Prompts


@pytest.mark.parametrize(
    ("count", "length", "truncated"), [(0, 1, False), (3, 4, False), (75, 76, False), (76, 76, True)]
)
def test_content_length(count: int, length: int, truncated: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encoded = tiny_model().encode_text(" ".join(["cat"] * count))
    assert encoded.tokens.shape == (1, 77, 32)
    assert encoded.content_length == length
    assert ("cut off" in caplog.text) is truncated


def test_an_end_token_in_the_prompt_is_content() -> None:
    assert tiny_model().encode_text("cat <|endoftext|> dog").content_length == 4


def test_clip_tokens_are_those_of_clip() -> None:
    tokenizer = clip_tokenizer("!")
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer.pad_token_id == 0
    assert clip_tokenizer("<|endoftext|>").pad_token_id == 49407


# Fingerprint


def test_fingerprint_follows_every_network_and_the_prediction_type(tmp_path: Path) -> None:
    prints = {tiny_model().fingerprint, tiny_model(seed=1).fingerprint}
    prints.add(tiny_model(prediction_type="v_prediction").fingerprint)
    from dragtext.sdk.model.diffusers import DiffusersModel

    for part in ("unet", "vae", "text_encoder"):
        model = tiny_model()
        with torch.no_grad():
            for parameter in getattr(model, part).parameters():
                parameter *= 1.001
        changed = DiffusersModel(
            model.unet,
            model.vae,
            model.text_encoder,
            model.tokenizer,
            alphas_cumprod=model.alphas_cumprod,
            prediction_type="epsilon",
            name="changed",
        )
        prints.add(changed.fingerprint)
    assert len(prints) == 6


# Imports and arguments


def test_importing_loads_no_diffusers() -> None:
    code = (
        "import sys, dragtext.sdk, dragtext.sdk.model, dragtext.sdk.model.load, dragtext.sdk.model.diffusers;"
        "print([name for name in ('diffusers', 'transformers') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"device": "gpu"}, "device"),
        ({"device": "cuda:99"}, "device"),
        ({"device": "meta"}, "device"),
        ({"dtype": "int8"}, "dtype"),
        ({"dtype": torch.int64}, "dtype"),
        ({"device": "cpu", "dtype": "float16"}, "CPU"),
        ({"attention": "flash"}, "attention"),
        ({"prediction_type": "sample"}, "prediction_type"),
    ],
)
def test_unusable_arguments(saved: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        load_model(saved, **options)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        load_model(tmp_path / "absent.safetensors")
    for source in (5, "x" * 5000):
        with pytest.raises(InputError, match="not a path"):
            load_model(source)


def test_the_current_folder_has_a_name(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(saved)
    assert load_model(".").name == "tiny"
    monkeypatch.chdir(tmp_path)
    assert tmp_path.name in refusal(".")


def test_missing_xformers_names_the_extra(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'dragtext[xformers]'" in refusal(saved, attention="xformers", device="cpu")
