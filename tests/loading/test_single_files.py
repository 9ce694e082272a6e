"""Single files: what is inferred from them, and every kind that is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from dragtext.sdk.model.load import load_model
from safetensors.torch import save_file

from ..tiny import single_file_weights, tiny_model, write_diffusers_folder
from .conftest import UNET, refusal

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
    ],
)
def test_other_kinds_of_safetensors(names: list[str], word: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({name: torch.zeros(4, 4) for name in names}, str(path))
    message = refusal(path)
    assert word in message
    assert "1.x, 2.x and SDXL" in message


@pytest.mark.parametrize(("channels", "word"), [(9, "inpainting"), (8, "8 input channels"), (5, "5 input")])
def test_other_inputs(channels: int, word: str, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(weights | {UNET + "input_blocks.0.0.weight": torch.zeros(64, channels, 3, 3)}, str(path))
    message = refusal(path)
    assert word in message
    assert "1.x, 2.x and SDXL" in message


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
