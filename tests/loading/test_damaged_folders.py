"""Folders that are damaged, incomplete or older."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from dragtext.sdk.model.load import load_model
from safetensors.torch import load_file, save_file

from .conftest import refusal


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
def test_folder_with_a_missing_or_damaged_config(part: str, content: str | None, folder: Path) -> None:
    (folder / part).unlink()
    if content is not None:
        (folder / part).write_text(content)
    assert part in refusal(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder", "tokenizer"])
def test_folder_without_a_part(part: str, folder: Path) -> None:
    shutil.rmtree(folder / part)
    assert part in refusal(folder)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_folder_with_unusable_weights(part: str, folder: Path) -> None:
    weights = next((folder / part).glob("*.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1000])
    assert "cut off" in refusal(folder)
    weights.unlink()
    assert part in refusal(folder)
    (folder / part / "pytorch_model.bin").write_bytes(whole)
    assert "any code" in refusal(folder)


@pytest.mark.parametrize(
    ("part", "setting"),
    [("unet", "layers_per_block"), ("vae", "layers_per_block"), ("text_encoder", "num_hidden_layers")],
)
def test_folder_with_weights_missing(part: str, setting: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / part / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {setting: config[setting] + 1}))
    capfd.readouterr()
    assert "lacks the weight" in refusal(folder)
    assert capfd.readouterr().err == ""


def test_folder_with_the_older_names_of_weights(saved: Path, folder: Path) -> None:
    """As the folders of Stable Diffusion 1.5 on model hubs have them."""
    file = folder / "text_encoder" / "model.safetensors"
    text = {"text_model." + k.removeprefix("text_model."): value for k, value in load_file(file).items()}
    text["text_model.embeddings.position_ids"] = torch.arange(77)[None]
    save_file(text, file, metadata={"format": "pt"})
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    older = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    vae = {}
    for name, value in load_file(file).items():
        for new, old in older.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        vae[name] = value
    save_file(vae, file, metadata={"format": "pt"})
    assert load_model(folder).fingerprint == load_model(saved).fingerprint


def test_folder_with_a_damaged_vocabulary(folder: Path) -> None:
    (folder / "tokenizer" / "vocab.json").write_text("{")
    assert "tiny" in refusal(folder)


def test_folder_with_half_precision_files_only(saved: Path, folder: Path) -> None:
    for part in ("unet", "vae", "text_encoder"):
        weights = next((folder / part).glob("*.safetensors"))
        weights.rename(weights.with_name(weights.stem + ".fp16.safetensors"))
    assert load_model(folder).fingerprint == load_model(saved).fingerprint


@pytest.mark.parametrize(
    ("file", "changes", "word"),
    [
        ("model_index.json", {"_class_name": "StableDiffusionXLPipeline"}, "tokenizer_2"),
        ("model_index.json", {"_class_name": "StableDiffusion3Pipeline"}, "StableDiffusion3"),
        ("model_index.json", {"_class_name": "FluxPipeline"}, "Flux"),
        ("unet/config.json", {"in_channels": 9}, "inpainting"),
        ("unet/config.json", {"cross_attention_dim": 48}, "tiny"),
        ("scheduler/scheduler_config.json", {"prediction_type": "sample"}, "sample"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "linear"}, "noise schedule"),
    ],
)
def test_folder_of_another_model(file: str, changes: dict[str, object], word: str, folder: Path) -> None:
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(config | changes))
    assert word in refusal(folder)
