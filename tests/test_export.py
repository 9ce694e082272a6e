"""The embedded model in the original layout: same numbers with the 32 groups that the original code always has."""

from __future__ import annotations

import json
import sys

import pytest
import torch
import yaml
from dragtext import sdk
from dragtext.sdk.command import app
from dragtext.sdk.model.export import export_checkpoint, widened_autoencoder
from dragtext.sdk.model.load import EMBEDDED
from safetensors import safe_open
from safetensors.torch import load_file


@pytest.fixture(scope="module")
def embedded():
    torch.set_num_threads(1)
    return sdk.load_model(device="cpu")


def test_the_widened_autoencoder_is_the_same_function(embedded):
    from diffusers import AutoencoderKL

    state, widths = widened_autoencoder(embedded.vae)
    factor = 32 // embedded.vae.config.norm_num_groups
    assert widths == [factor * width for width in embedded.vae.config.block_out_channels]
    config = {**embedded.vae.config, "block_out_channels": widths, "norm_num_groups": 32}
    wide = AutoencoderKL.from_config(config).eval()
    wide.load_state_dict(state)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        mean = embedded.vae.encode(image).latent_dist.mean
        assert torch.allclose(wide.encode(image).latent_dist.mean, mean, atol=1e-4)
        assert torch.allclose(wide.decode(mean).sample, embedded.vae.decode(mean).sample, atol=1e-4)


def test_the_written_files_describe_the_model(embedded, tmp_path):
    from transformers import CLIPTextConfig, CLIPTokenizer

    (tmp_path / "embedded-clip").mkdir()
    (tmp_path / "embedded-clip" / "merges.txt").write_text("of another tokenizer")
    path, side, clip = export_checkpoint(embedded, tmp_path / "embedded.safetensors")
    weights = load_file(path)
    assert {name.split(".")[0] for name in weights} == {"model", "first_stage_model", "cond_stage_model"}
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    parameters = yaml.safe_load(side.read_text())["model"]["params"]
    unet = parameters["unet_config"]["params"]
    width = unet["model_channels"]
    assert weights["model.diffusion_model.input_blocks.0.0.weight"].shape == (width, 4, 3, 3)
    last = weights["model.diffusion_model.middle_block.0.in_layers.2.weight"]
    assert last.shape[0] == width * unet["channel_mult"][-1]
    # Attention sits at the resolutions that the yaml names and at no other.
    for level in range(4):
        block = 1 + level * (unet["num_res_blocks"] + 1)
        attends = f"model.diffusion_model.input_blocks.{block}.1.proj_in.weight" in weights
        assert attends == (2**level in unet["attention_resolutions"])
    vae = parameters["first_stage_config"]["params"]["ddconfig"]
    assert weights["first_stage_model.encoder.conv_in.weight"].shape[0] == vae["ch"]
    assert vae["ch"] % 32 == 0
    assert parameters["scale_factor"] == embedded.latent_scale
    assert parameters["parameterization"] == "v"
    with safe_open(path, "pt") as file:  # where the yaml gets lost
        assert file.metadata()["modelspec.prediction_type"] == embedded.prediction_type == "v_prediction"
    # The WebUIs' older transformers read these two, and newer ones write tokenizer.json alone.
    source = EMBEDDED / "tokenizer"
    assert json.loads((clip / "vocab.json").read_text()) == json.loads((source / "vocab.json").read_text())
    assert (clip / "merges.txt").read_text() == (source / "merges.txt").read_text()
    tokenizer = CLIPTokenizer.from_pretrained(clip)
    ids = tokenizer("a small red circle", padding="max_length", max_length=77).input_ids
    assert ids == embedded.tokenizer("a small red circle", padding="max_length", max_length=77).input_ids
    assert CLIPTextConfig.from_pretrained(clip).hidden_size == unet["context_dim"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["m.ckpt"], "must end in"),
        (["m.safetensors", "--dtype", "int8"], "neither"),
        (["no/m.safetensors"], "cannot be written"),
    ],
)
def test_bad_exports_are_one_sentence(arguments, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dragtext", "export-model", str(tmp_path / arguments[0]), *arguments[1:]])
    with pytest.raises(SystemExit) as end:
        app.main()
    assert end.value.code == 2
    assert expected in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_model_of_another_form_is_refused(tmp_path):
    from .tiny import tiny_model

    with pytest.raises(sdk.ModelError, match="can be exported"):
        export_checkpoint(tiny_model(version=2), tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())
