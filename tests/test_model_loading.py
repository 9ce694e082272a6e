"""Loading models: folders and single files, what is inferred, and every kind of file that is refused."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model.diffusers import scaled_linear_alphas
from dragtext.sdk.model.keys import unet_names
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.vocabulary import clip_tokenizer
from safetensors.torch import load_file, save_file

from .tiny import single_file_weights, tiny_model, write_diffusers_folder, write_single_file

UNET = "model.diffusion_model."


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_diffusers_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return single_file_weights()


@pytest.fixture
def broken(folder: Path, tmp_path: Path) -> Path:
    """A copy of the folder for a test to damage."""
    return Path(shutil.copytree(folder, tmp_path / "broken"))


def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 77, 32, generator=generator)


def refusal(source: Path, **options: object) -> str:
    """The message of the ModelError that loading raises; one sentence on one line, naming the file."""
    with pytest.raises(ModelError) as caught:
        load_model(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# What a loaded model does


def test_folder_equals_the_model_it_was_saved_from(folder: Path) -> None:
    model, loaded = tiny_model(), load_model(folder)
    latent, text = inputs()
    assert torch.equal(model.predict(latent, 401, text), loaded.predict(latent, 401, text))
    assert loaded.fingerprint == model.fingerprint
    assert loaded.name == "tiny"


@pytest.mark.parametrize("version", [1, 2])
def test_single_file_equals_folder_bit_for_bit(version: int, tmp_path: Path) -> None:
    options = {"version": version, "clip_vocabulary": True}
    one = load_model(write_diffusers_folder(tmp_path / "folder", **options))
    other = load_model(write_single_file(tmp_path / "file.safetensors", version=version))
    latent, text = inputs()
    image = torch.rand(1, 3, 64, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert torch.equal(one.predict(latent, 401, text), other.predict(latent, 401, text))
    assert torch.equal(one.encode_text("a red cat").embedding, other.encode_text("a red cat").embedding)
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


def test_weights_do_not_lie_in_the_mapped_file(folder: Path) -> None:
    model = load_model(folder)
    for module in (model.unet, model.vae, model.text_encoder):
        assert all(parameter.data_ptr() % 64 == 0 for parameter in module.parameters())


def test_predict_is_differentiable_but_weights_are_frozen() -> None:
    model = tiny_model()
    latent, text = (tensor.requires_grad_() for tensor in inputs())
    for_latent, for_text = torch.autograd.grad(model.predict(latent, 1, text).square().sum(), (latent, text))
    assert for_latent.abs().sum() > 0
    assert for_text.abs().sum() > 0
    for module in (model.unet, model.vae, model.text_encoder):
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())


def test_half_precision_stays_inside() -> None:
    model = tiny_model(dtype=torch.bfloat16)
    latent, text = inputs()
    prediction = model.predict(latent, 401, text)
    assert prediction.dtype == torch.float32
    assert next(model.unet.parameters()).dtype == torch.bfloat16
    assert next(model.vae.parameters()).dtype == torch.float32
    assert model.encode_text("a cat").embedding.dtype == torch.float32
    exact = tiny_model().predict(latent, 401, text)
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
    assert encoded.embedding.shape == (1, 77, 32)
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
def test_unusable_arguments(folder: Path, options: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        load_model(folder, **options)


def test_missing_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no model at"):
        load_model(tmp_path / "absent.safetensors")
    for source in (5, "x" * 5000):
        with pytest.raises(InputError, match="not a path"):
            load_model(source)


def test_the_current_folder_has_a_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert load_model(".").name == "tiny"
    monkeypatch.chdir(tmp_path)
    assert tmp_path.name in refusal(".")


def test_missing_xformers_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'dragtext[xformers]'" in refusal(folder, attention="xformers", device="cpu")


# Prediction type of single files


def test_v_prediction_of_folder_and_override(tmp_path: Path) -> None:
    path = write_diffusers_folder(tmp_path / "v", prediction_type="v_prediction")
    assert load_model(path).prediction_type == "v_prediction"
    assert load_model(path, prediction_type="epsilon").prediction_type == "epsilon"


def test_sidecar_yaml_says_what_is_predicted(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights, str(path))
    sidecar = path.with_suffix(".yaml")
    sidecar.write_text("model:\n  params:\n    parameterization: v\n    scale_factor: 0.2\n")
    model = load_model(path)
    assert (model.prediction_type, model.latent_scale) == ("v_prediction", 0.2)
    assert load_model(path, prediction_type="epsilon").prediction_type == "epsilon"
    for unusable in ("model: [", "a: b", "model: {params: {scale_factor: x}}", "model: {params: {scale_factor: 0}}"):
        sidecar.write_text(unusable)
        assert "model.yaml" in refusal(path)


def test_marks_inside_the_file(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    by_metadata, by_weight = tmp_path / "metadata.safetensors", tmp_path / "weight.safetensors"
    save_file(weights, str(by_metadata), metadata={"modelspec.prediction_type": "v"})
    save_file(weights | {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}, str(by_weight))
    assert load_model(by_metadata).prediction_type == "v_prediction"
    marked = load_model(by_weight)
    assert marked.prediction_type == "v_prediction"
    assert marked.alphas_cumprod[-1] == 0


def test_version_2_is_probed(tmp_path: Path) -> None:
    weights = single_file_weights(version=2)
    weights[UNET + "out.2.weight"] = torch.zeros_like(weights[UNET + "out.2.weight"])
    for mean, expected in ((0.5, "epsilon"), (-1.0, "v_prediction")):
        weights[UNET + "out.2.bias"] = torch.full((4,), mean)
        path = tmp_path / f"{expected}.safetensors"
        save_file(weights, str(path))
        assert load_model(path).prediction_type == expected


def test_older_names_of_the_text_encoder(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "old.safetensors"
    older = {name.replace("transformer.text_model.", "transformer."): value for name, value in weights.items()}
    assert older.keys() != weights.keys()
    save_file(older, str(path))
    assert load_model(path).fingerprint == tiny_model(clip_vocabulary=True).fingerprint


# Files that are refused


@pytest.mark.parametrize("name", ["model.ckpt", "model.pt", "model.bin", "renamed.safetensors"])
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_pickles_are_refused_unopened(name: str, writer: str, tmp_path: Path) -> None:
    path, trap = tmp_path / name, tmp_path / "trap"

    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trap,)

    if writer == "torch":
        torch.save({"state_dict": Trap()}, path)
    else:
        path.write_bytes(pickle.dumps(Trap(), protocol=2))
    message = refusal(path)
    assert "any code" in message
    assert ".safetensors version" in message
    assert not trap.exists()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "not a safetensors file"),
        (b"{}", "not a safetensors file"),
        (b"<!DOCTYPE html><html><body>Sign in to download this model</body></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265146304\n", "Git LFS"),
        (b"just some words that somebody saved under the wrong name", "not a safetensors file"),
        ((64).to_bytes(8, "little") + b"{" * 64, "damaged"),
        ((64).to_bytes(8, "little") + b'{"a": 1}' + b" " * 56, "damaged"),
        ((1000).to_bytes(8, "little") + b'{"a": {"dtype"', "cut off"),
    ],
)
def test_mislabelled_files(content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert word in refusal(path)


@pytest.mark.parametrize("kept", [0.001, 0.5, 0.999])
def test_truncated_file(kept: float, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights, str(path))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    assert "cut off" in refusal(path)


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "LoRA"),
        (["unet.down_blocks.0.attentions.0.to_q.lora_A.weight"], "LoRA"),
        (["weight", "bias"], "no Stable Diffusion"),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "Stable Diffusion 3"),
        (["model.diffusion_model.double_blocks.0.img_attn.qkv.weight"], "Flux"),
        (["control_model.input_blocks.0.0.weight"], "ControlNet"),
        (["conditioner.embedders.0.model.ln_final.weight"], "refiner"),
        (["conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.ln_final.weight"], "SDXL"),
    ],
)
def test_other_kinds_of_safetensors(names: list[str], word: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(4, 4) for name in names}, str(path))
    message = refusal(path)
    assert word in message
    assert "1.x and 2.x" in message


@pytest.mark.parametrize(("channels", "word"), [(9, "inpainting"), (8, "8 input channels"), (5, "5 input")])
def test_other_inputs(channels: int, word: str, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights | {UNET + "input_blocks.0.0.weight": torch.zeros(64, channels, 3, 3)}, str(path))
    message = refusal(path)
    assert word in message
    assert "1.x and 2.x" in message


@pytest.mark.parametrize(
    ("prefix", "word"),
    [
        ("first_stage_model.", "autoencoder"),
        ("cond_stage_model.", "text encoder"),
        ("first_stage_model.decoder.up.1.", "decoder.up.1"),
        (UNET + "middle_block.", "middle_block"),
        (UNET + "time_embed.0.bias", "time_embed.0.bias"),
    ],
)
def test_missing_weights(prefix: str, word: str, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: value for name, value in weights.items() if not name.startswith(prefix)}, str(path))
    assert word in refusal(path)


def test_weight_of_another_shape(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path, name = tmp_path / "model.safetensors", UNET + "time_embed.2.weight"
    rows, columns = weights[name].shape
    for unusable in (
        torch.zeros(3, 5),
        torch.zeros(rows // 2, columns * 2),
        torch.zeros(rows, columns, dtype=torch.int8),
    ):
        save_file(weights | {name: unusable}, str(path))
        assert "time_embed.2.weight" in refusal(path)


# Damaged folders


@pytest.mark.parametrize(
    "part",
    [
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "scheduler/scheduler_config.json",
    ],
)
@pytest.mark.parametrize("content", [None, "{ half a", "[]", "\x00\x01"])
def test_folder_with_a_missing_or_damaged_config(part: str, content: str | None, broken: Path) -> None:
    (broken / part).unlink()
    if content is not None:
        (broken / part).write_text(content)
    assert part in refusal(broken)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_folder_without_a_part(part: str, broken: Path) -> None:
    shutil.rmtree(broken / part)
    assert part in refusal(broken)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_folder_with_unusable_weights(part: str, broken: Path) -> None:
    weights = next((broken / part).glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    assert "cut off" in refusal(broken)
    weights.unlink()
    assert part in refusal(broken)
    (broken / part / "pytorch_model.bin").write_bytes(whole)
    assert "any code" in refusal(broken)


@pytest.mark.parametrize(
    ("part", "setting"),
    [("unet", "layers_per_block"), ("vae", "layers_per_block"), ("text_encoder", "num_hidden_layers")],
)
def test_folder_with_weights_missing(part: str, setting: str, broken: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = broken / part / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {setting: config[setting] + 1}))
    capfd.readouterr()
    assert "lacks the weight" in refusal(broken)
    assert capfd.readouterr().err == ""


def test_folder_with_the_older_names_of_weights(folder: Path, broken: Path) -> None:
    """As the folders of Stable Diffusion 1.5 on model hubs have them."""
    file = broken / "text_encoder" / "model.safetensors"
    text = {"text_model." + k.removeprefix("text_model."): value for k, value in load_file(file).items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(text, file, metadata={"format": "pt"})
    file = broken / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = {}
    for name, value in load_file(file).items():
        for new, old in older.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        vae[name] = value
    save_file(vae, file, metadata={"format": "pt"})
    assert load_model(broken).fingerprint == load_model(folder).fingerprint


def test_folder_with_a_damaged_vocabulary(broken: Path) -> None:
    (broken / "tokenizer" / "vocab.json").write_text("{")
    assert "broken" in refusal(broken)


def test_folder_with_half_precision_files_only(folder: Path, broken: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        weights = next((broken / part).glob("*.safetensors"))
        weights.rename(weights.with_name(weights.stem + ".fp16.safetensors"))
    assert load_model(broken).fingerprint == load_model(folder).fingerprint


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "StableDiffusionXL"),
        ("model_index.json", {"_class_name": "StableDiffusion3Pipeline"}, "StableDiffusion3"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "Flux"),
        ("unet/config.json", {"in_channels": 9}, "inpainting"),
        ("unet/config.json", {"cross_attention_dim": 48}, "broken"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "sample"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "linear"}, "noise schedule"),
    ],
)
def test_folder_of_another_model(file: str, changes: dict[str, object], word: str, broken: Path) -> None:
    config = json.loads((broken / file).read_text())
    (broken / file).write_text(json.dumps(config | changes))
    assert word in refusal(broken)
