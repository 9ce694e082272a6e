"""Folders as they are found in the field: in variants and shards, half downloaded, in the hub's cache."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from dragtext.sdk.errors import InputError
from dragtext.sdk.model import load
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.vocabulary import clip_tokenizer
from safetensors.torch import load_file

from .conftest import put, refusal


def test_nan_in_a_folder_names_the_part(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    stored = load_file(file)
    put(file, stored | {"quant_conv.bias": torch.full_like(stored["quant_conv.bias"], float("nan"))})
    assert "tiny/vae/diffusion_pytorch_model.safetensors has NaN" in refusal(folder)


def rename(part: Path, *variants: str) -> None:
    """Give a part's only file the variants' names, as copies."""
    (file,) = part.glob("*.safetensors")
    for variant in variants:
        shutil.copy(file, file.with_name(f"{file.stem}.{variant}.safetensors"))
    file.unlink()


def shard(part: Path, spelling: str = "{stem}-0000{number}-of-00002.safetensors", index: bool = True) -> list[Path]:
    (file,) = part.glob("*.safetensors")
    stored = load_file(file)
    names = sorted(stored)
    made, table = [], {}
    for number, half in enumerate((names[: len(names) // 2], names[len(names) // 2 :]), 1):
        path = file.with_name(spelling.format(stem=file.name.removesuffix(".safetensors"), number=number))
        made.append(put(path, {name: stored[name] for name in half}))
        table |= dict.fromkeys(half, path.name)
    if index:
        file.with_name(f"{file.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    file.unlink()
    return made


@pytest.mark.parametrize(
    "variants", [("fp16",), ("fp16", "non_ema"), ("bf16",), ("non_ema",), ("fp32", "fp16"), ("special",)]
)
def test_variants_of_a_folder(variants: tuple[str, ...], folder: Path, saved: Path) -> None:
    for part in ("unet", "text_encoder"):
        rename(folder / part, *variants)
    if "non_ema" in variants[1:]:  # what lies beside must not be taken
        (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"half a download")
    assert load_model(folder).fingerprint == load_model(saved).fingerprint


@pytest.mark.parametrize(
    "spelling",
    [
        "{stem}-0000{number}-of-00002.safetensors",
        "{stem}.fp16-0000{number}-of-00002.safetensors",
        "{stem}-0000{number}-of-00002.fp16.safetensors",
        "piece {number}.safetensors",
    ],
)
def test_shards_load_quietly(spelling: str, folder: Path, saved: Path, capfd: pytest.CaptureFixture) -> None:
    for part in ("unet", "vae", "text_encoder"):
        shard(folder / part, spelling)
    capfd.readouterr()
    assert load_model(folder).fingerprint == load_model(saved).fingerprint
    assert capfd.readouterr().err == ""


def test_missing_and_cut_shards(folder: Path) -> None:
    first, second = shard(folder / "unet")
    first.write_bytes(first.read_bytes()[:-100])
    assert f"tiny/unet/{first.name} is cut off" in refusal(folder)
    second.unlink()
    assert "lacks part 2 of 2 of the weights in unet" in refusal(folder)
    (index,) = (folder / "unet").glob("*.index.json")
    index.write_text("{")
    assert "damaged unet/diffusion_pytorch_model.safetensors.index.json" in refusal(folder)
    index.unlink()
    assert "lacks part 2 of 2 of the weights in unet" in refusal(folder)


def test_half_a_download_beside_a_whole_variant(folder: Path, saved: Path) -> None:
    copy = shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "kept")
    shard(folder / "unet")[1].unlink()
    shutil.copy(copy, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert load_model(folder).fingerprint == load_model(saved).fingerprint


def test_nothing_is_printed_without_accelerate(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("diffusers.models.modeling_utils.is_accelerate_available", lambda: False)
    load_model(folder)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_a_folder_of_something_else(folder: Path, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    assert "give the folder above it, tiny" in refusal(folder / "unet")
    for part, word in (("vae", "--vae"), ("unet", "UNet2DConditionModel"), ("text_encoder", "give a whole model")):
        shutil.move(folder / part, tmp_path / "alone")
        assert word in refusal(tmp_path / "alone")
        shutil.rmtree(tmp_path / "alone")
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    put(checkpoints / "a.safetensors", weights)
    assert "for example a.safetensors" in refusal(checkpoints)


def test_a_unet_without_a_middle_block(folder: Path) -> None:
    from diffusers import UNet2DConditionModel

    config = json.loads((folder / "unet" / "config.json").read_text()) | {"mid_block_type": None}
    UNet2DConditionModel.from_config(config).save_pretrained(folder / "unet")
    model = load_model(folder)
    assert model.layout.mid is None
    assert model.predict(torch.randn(1, 4, 8, 8), 1, Conditioning(torch.randn(1, 77, 32))).isfinite().all()


# The hub's cache


@pytest.fixture
def hub(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with one model, as the hub's tools leave it: the files are links to blobs."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home" / "hub" / "models--someone--tiny-sd"
    snapshots = home / "snapshots"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("abc")
    (snapshots / "zzz").mkdir(parents=True)  # newer, but not main
    blobs = shutil.move(folder, home / "blobs")
    for path in Path(blobs).rglob("*.*"):
        link = snapshots / "abc" / path.relative_to(blobs)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(path)
    return home


@pytest.mark.parametrize(
    ("variable", "below"), [("HF_HOME", ""), ("HF_HUB_CACHE", "hub"), ("HUGGINGFACE_HUB_CACHE", "hub")]
)
def test_a_name_on_the_hub(variable: str, below: str, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, str(hub.parent.parent / below))
    model = load_model("someone/tiny-sd")
    assert model.name == "tiny-sd"
    assert load_model(hub).fingerprint == load_model(hub / "snapshots" / "abc").fingerprint == model.fingerprint
    assert load_model("someone/tiny-sd", vae="someone/tiny-sd").fingerprint == model.fingerprint
    (hub / "refs" / "main").unlink()
    os.utime(hub / "snapshots" / "abc", (2e9, 2e9))
    assert load_model("someone/tiny-sd").fingerprint == model.fingerprint


def test_names_that_were_not_downloaded(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(hub.parent.parent))
    assert "hub" not in refusal("absent/checkpoint.safetensors", InputError)
    message = refusal("runwayml/stable-diffusion-v1-5", InputError)
    assert "hf download runwayml/stable-diffusion-v1-5" in message
    shutil.rmtree(hub / "snapshots")
    (hub / "snapshots").mkdir()
    assert "download the model again" in refusal("someone/tiny-sd", InputError)


# Without a folder for temporary files


def test_no_temporary_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    def fail(*_: object) -> None:
        none()

    monkeypatch.setattr("tempfile.gettempdir", none)
    monkeypatch.setattr("tempfile.mkdtemp", fail)
    assert clip_tokenizer("!")("a cat").input_ids == [49406, 320, 2368, 49407]
    assert load_model(folder).name == "tiny"
    monkeypatch.setattr(load, "load_folder", fail)
    assert "TMPDIR" in refusal(folder, InputError)


def test_the_tokenizer_in_memory_is_that_of_the_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from dragtext.sdk.model.vocabulary import END, START, clip_vocabulary
    from transformers import CLIPTokenizer

    words, merges = clip_vocabulary()
    (tmp_path / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), encoding="utf-8")
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": "!", "model_max_length": 77}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "CLIPTokenizer", **special}))
    expected, found = CLIPTokenizer.from_pretrained(tmp_path), clip_tokenizer("!")
    prompts = (
        "",
        "a photo of a cat",
        "It's  3.14\tCAFÉ, naïve!",
        "日本語 and emoji 🐱🚀",
        "end<|endoftext|>of",
        "x" * 300,
        "ﬁ ½ Ⅷ",
    )
    options = {"padding": "max_length", "max_length": 77, "truncation": True}
    with caplog.at_level(logging.ERROR):
        for prompt in prompts:
            assert found(prompt, **options).input_ids == expected(prompt, **options).input_ids, prompt
