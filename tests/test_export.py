"""Models in the original layout: the same numbers in sizes that hosts know, no place named, strict checks."""

from __future__ import annotations

import errno
import shutil
import sys

import pytest
import torch
import yaml
from dragtext import sdk
from dragtext.sdk.command import app
from dragtext.sdk.model import widen
from dragtext.sdk.model.export import export_checkpoint, forge_hint
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.recommended import read_recommended
from dragtext.sdk.model.vocabulary import clip_tokenizer, clip_vocabulary
from safetensors import safe_open
from safetensors.torch import load_file

from .tiny import tiny_model


@pytest.fixture(scope="module")
def exported(embedded, tmp_path_factory):
    return export_checkpoint(embedded, tmp_path_factory.mktemp("export") / "embedded.safetensors")


def filled(cls, config, state):
    """A network of another size with these weights, without initialising it first."""
    with torch.device("meta"):
        network = cls.from_config(config) if hasattr(cls, "from_config") else cls(config)
    if hasattr(network, "text_model"):
        state = {f"text_model.{name}": value for name, value in state.items()}
    network.load_state_dict(state, strict=False, assign=True)
    for module in network.modules():
        if "position_ids" in dict(module.named_buffers(recurse=False)):
            module.position_ids = torch.arange(77)[None]
    assert not any(parameter.is_meta for parameter in network.parameters())
    return network.eval()


def test_the_widened_autoencoder_is_the_same_function(embedded):
    from diffusers import AutoencoderKL

    state, widths = widen.widened_autoencoder(embedded.vae)
    factor = 32 // embedded.vae.config.norm_num_groups
    assert widths == [factor * width for width in embedded.vae.config.block_out_channels]
    layers = embedded.vae.config.layers_per_block
    state = widen.deeper_autoencoder(widen.rescaled_autoencoder(state, 0.5), widths, layers)
    config = {**embedded.vae.config, "block_out_channels": widths, "norm_num_groups": 32, "layers_per_block": 2}
    wide = filled(AutoencoderKL, config, state)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected, found = embedded.vae.encode(image).latent_dist, wide.encode(image).latent_dist
        assert torch.allclose(found.mean * 0.18215, expected.mean * 0.5, atol=1e-4)
        assert torch.allclose(found.std * 0.18215, expected.std * 0.5, rtol=1e-3)
        assert torch.allclose(wide.decode(found.mean).sample, embedded.vae.decode(expected.mean).sample, atol=1e-4)


def test_the_wide_unet_is_the_same_function(embedded):
    from diffusers import UNet2DConditionModel

    config = embedded.unet.config
    times, context = widen.unet_factor(embedded.unet), 2 * config.cross_attention_dim
    assert config.attention_head_dim != 8
    widths = [times * width for width in config.block_out_channels]
    assert widths[0] == 320
    other = {**config, "block_out_channels": widths, "attention_head_dim": 8, "cross_attention_dim": context}
    state = widen.wide_unet(embedded.unet, context, times, 8)
    assert all(value.half().isfinite().all() for value in state.values())  # as they are exported
    wide = filled(UNet2DConditionModel, other, state)
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 4, 8, 8, generator=generator)
    text = torch.randn(1, 77, config.cross_attention_dim, generator=generator)
    with torch.no_grad():
        expected = embedded.unet(latent, 401, encoder_hidden_states=text).sample
        found = wide(latent, 401, encoder_hidden_states=text.repeat_interleave(2, 2)).sample
    assert torch.allclose(found, expected, atol=1e-4)


def test_the_text_encoder_in_the_sizes_of_clip_is_the_same_function():
    from transformers import CLIPTextConfig, CLIPTextModel

    model = tiny_model()
    config = CLIPTextConfig(**{**model.text_encoder.config.to_dict(), **widen.CLIP_L})
    wide = filled(CLIPTextModel, config, widen.clip_l(model.text_encoder))
    ids = torch.randint(0, 500, (1, 77), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected, found = model.text_encoder(ids)[0], wide(ids)[0]
    assert torch.allclose(found, expected.repeat_interleave(24, 2), atol=1e-4)


def test_an_exported_model_gives_the_same_numbers_wherever_it_is_moved(embedded, exported, tmp_path):
    path, side, own = exported
    assert str(path.parent) not in side.read_text()
    assert read_recommended(path) == embedded.recommended
    assert own.name == f"{path.stem}.dragtext.json"
    moved = shutil.copy(path, tmp_path / "elsewhere.safetensors")  # without its yaml
    model = load_model(moved, device="cpu")
    assert (model.prediction_type, model.native_resolution) == (embedded.prediction_type, embedded.native_resolution)
    assert model.latent_scale == 0.18215
    generator = torch.Generator().manual_seed(0)
    latent, image = torch.randn(1, 4, 8, 8, generator=generator), torch.rand(1, 3, 64, 64, generator=generator)
    prompt = "a small red fish and a large tall blue mushroom on a beige background"
    times = 768 // embedded.unet.config.cross_attention_dim
    expected, found = embedded.encode_text(prompt), model.encode_text(prompt)
    assert found.content_length == expected.content_length
    assert torch.allclose(found.tokens[..., ::times], expected.tokens, atol=0.05)
    assert torch.allclose(model.predict(latent, 401, found), embedded.predict(latent, 401, expected), atol=0.02)
    assert torch.allclose(model.encode_image(image).mean, embedded.encode_image(image).mean, atol=0.02)
    assert torch.allclose(model.decode(latent), embedded.decode(latent), atol=0.02)


def test_what_hosts_draw_from_an_exported_autoencoder_is_its_mean(exported):
    vae = load_model(exported[0], device="cpu").vae
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        found = vae.encode(image).latent_dist
    assert torch.allclose(found.sample(), found.mean, atol=1e-5)  # with a spread, img2img would begin with noise


def test_words_that_clip_spells_in_pieces_keep_their_meaning_in_each(embedded, exported):
    token = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
    table = load_file(exported[0])[token].float()
    own, words = embedded.tokenizer.get_vocab(), clip_vocabulary()[0]
    rows = embedded.text_encoder.get_input_embeddings().weight
    times = 768 // rows.shape[1]
    assert table.shape == (len(words), 768)
    for word in ("fish</w>", "<|endoftext|>", "a"):
        assert torch.allclose(table[words[word], ::times], rows[own[word]], atol=1e-3)
    assert clip_tokenizer("!").tokenize("tilted") == ["til", "ted</w>"]
    for piece in ("til", "ted</w>"):
        assert torch.allclose(table[words[piece], ::times], rows[own["tilted</w>"]], atol=1e-3)


def test_the_yaml_describes_the_weights(embedded, exported):
    path, side, _ = exported
    weights = load_file(path)
    networks = {name.split(".")[0] for name in weights if "." in name}
    assert networks == {"model", "first_stage_model", "cond_stage_model", "dragtext"}
    assert {tensor.dtype for name, tensor in weights.items() if "model" in name} == {torch.float16}
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
    assert parameters["scale_factor"] == 0.18215
    assert unet["context_dim"] == 768
    assert parameters["cond_stage_config"] == {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"}
    assert parameters["parameterization"] == "v"
    with safe_open(path, "pt") as file:
        assert file.metadata()["modelspec.prediction_type"] == "v"
    assert embedded.prediction_type == "v_prediction"


def test_the_tokenizer_can_travel_along(tmp_path):
    from transformers import CLIPTextConfig, CLIPTokenizer

    path, side, clip = export_checkpoint(tiny_model(), tmp_path / "m.safetensors", with_tokenizer=True)
    stage = yaml.safe_load(side.read_text())["model"]["params"]["cond_stage_config"]
    assert stage["params"] == {"version": str(clip)}
    prompt = "a small red circle"
    assert CLIPTokenizer.from_pretrained(clip)(prompt).input_ids == clip_tokenizer("!")(prompt).input_ids
    assert CLIPTextConfig.from_pretrained(clip).hidden_size == 768
    assert {file.name for file in clip.iterdir()} >= {"vocab.json", "merges.txt", "config.json"}
    assert load_model(path, device="cpu").prediction_type == "epsilon"


def test_forge_gets_the_sizes_that_it_knows(embedded, tmp_path):
    model = tiny_model()  # that the embedded U-Net can be widened is tested above; so wide it takes a gigabyte
    model.vae, model.recommended = embedded.vae, embedded.recommended
    path, side, _ = export_checkpoint(model, tmp_path / "forge.safetensors", forge=True)
    with safe_open(path, "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert shapes["model.diffusion_model.input_blocks.0.0.weight"][0] == 320
    assert shapes["first_stage_model.decoder.up.3.block.2.conv2.weight"] == (512, 512, 3, 3)
    assert not any("num_heads" in name for name in shapes)
    parameters = yaml.safe_load(side.read_text())["model"]["params"]
    assert parameters["unet_config"]["params"]["num_heads"] == 8
    assert parameters["first_stage_config"]["params"]["ddconfig"]["num_res_blocks"] == 2


def test_the_hint_about_forge(embedded):
    assert "--forge" in forge_hint(embedded)
    with pytest.raises(sdk.ModelError, match="Forge wants; export it for A1111"):
        widen.unet_factor(tiny_model(width=96).unet)
    with pytest.raises(sdk.ModelError, match="Forge wants; export it for A1111"):
        widen.deeper_autoencoder({}, [32, 32, 32, 32], 1)


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


@pytest.mark.parametrize(
    ("part", "changes", "word"),
    [
        ("unet", {"block_out_channels": (64, 96, 128, 128)}, "whole multiples"),
        ("vae", {"block_out_channels": (32, 48, 64, 64)}, "whole multiples"),
        ("unet", {"layers_per_block": [1, 2, 1, 1]}, "different depths"),
        ("unet", {"transformer_layers_per_block": 2}, "other blocks"),
        ("unet", {"mid_block_type": None}, "other blocks"),
        ("unet", {"up_block_types": ("CrossAttnUpBlock2D",) * 4}, "other blocks"),
        ("unet", {"act_fn": "gelu"}, "other blocks"),
        ("unet", {"use_linear_projection": True}, "can be exported"),
        ("vae", {"norm_num_groups": 12}, "do not divide"),
    ],
)
def test_a_model_of_another_form_is_refused(part, changes, word, tmp_path):
    model = tiny_model()
    getattr(model, part).register_to_config(**changes)
    with pytest.raises(sdk.ModelError, match=word):
        export_checkpoint(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_other_schedules_and_text_encoders_are_refused(tmp_path):
    model = tiny_model()
    model.alphas_cumprod = model.alphas_cumprod**1.1
    with pytest.raises(sdk.ModelError, match="noise schedule"):
        export_checkpoint(model, tmp_path / "m.safetensors")
    model = tiny_model()
    model.text_encoder.config.hidden_act = "gelu"
    with pytest.raises(sdk.ModelError, match="text encoder of width 32 does not fit"):
        export_checkpoint(model, tmp_path / "m.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_everything_as_it_was(tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "m.yaml").write_text("of before")
    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(sdk.InputError, match=r"m\.safetensors cannot be written \(No space left"):
        export_checkpoint(tiny_model(), tmp_path / "m.safetensors", with_tokenizer=True)
    assert [file.name for file in tmp_path.iterdir()] == ["m.yaml"]
    assert (tmp_path / "m.yaml").read_text() == "of before"
