"""Models as they are found in the field: wrapped, renamed, scaled, in variants and shards, without a part, on the hub's
cache; and what people give by mistake."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

import pytest
import torch
from dragtext import sdk
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model import load
from dragtext.sdk.model.load import load_model
from dragtext.sdk.model.vocabulary import clip_tokenizer
from safetensors.torch import load_file, save_file

from .tiny import single_file_weights, tiny_model, write_diffusers_folder

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    return single_file_weights()


@pytest.fixture(scope="module")
def whole() -> str:
    """The fingerprint of the model that all files here are made from."""
    return tiny_model(clip_vocabulary=True).fingerprint


@pytest.fixture
def folder(small_folder: Path, tmp_path: Path) -> Path:
    """A copy for a test to change."""
    return Path(shutil.copytree(small_folder, tmp_path / "tiny"))


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_diffusers_folder(tmp_path_factory.mktemp("models") / "tiny")


def put(path: Path, weights: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, str(path), metadata=metadata)
    return path


def refusal(source: object, error: type[Exception] = ModelError, **options: object) -> str:
    with pytest.raises(error) as caught:
        load_model(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


# Names


def averaged(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As training scripts keep the averaged weights: under `model_ema.`, all other dots gone."""
    unet = {n: value for n, value in weights.items() if n.startswith(UNET)}
    others = {n: value for n, value in weights.items() if not n.startswith(UNET)}
    named = {"model_ema." + n.removeprefix("model.").replace(".", ""): value for n, value in unet.items()}
    return others | named | {"model_ema.decay": torch.tensor(0.999), "model_ema.num_updates": torch.tensor(7)}


def flat(prefix: str = "", old: bool = False) -> dict[str, torch.Tensor]:
    """All parts of a diffusers folder in one file."""
    model = tiny_model(clip_vocabulary=True)
    out = {}
    for part in ("unet", "vae", "text_encoder"):
        for name, value in getattr(model, part).state_dict().items():
            if old and part == "vae":
                name = name.replace(".0.to_q.", ".0.query.").replace(".0.to_out.0.", ".0.proj_attn.")
            out[f"{prefix}{part}.{name}"] = value
    return out


WRAPPED = {
    "state_dict": lambda w: {"state_dict." + n: value for n, value in w.items()},
    "module": lambda w: {"module." + n: value for n, value in w.items()},
    "both": lambda w: {"state_dict.module." + n: value for n, value in w.items()},
    "short U-Net prefix": lambda w: {n.replace(UNET, "diffusion_model."): value for n, value in w.items()},
    "autoencoder under vae": lambda w: {n.replace(VAE, "vae." + VAE): value for n, value in w.items()},
    "vae. alone": lambda w: {n.replace(VAE, "vae."): value for n, value in w.items()},
    "clip_l": lambda w: {n.replace(TEXT, "text_encoders.clip_l."): value for n, value in w.items()},
    "EMA only": averaged,
    "EMA beside": lambda w: w | {n: value + 1 for n, value in averaged(w).items() if "model_ema." in n and value.ndim},
    "wrapped EMA": lambda w: {"state_dict." + n: value for n, value in averaged(w).items()},
    "flat diffusers": lambda w: flat(),
    "flat diffusers, older": lambda w: flat(old=True),
    "wrapped flat diffusers": lambda w: flat("module."),
    "more keys": lambda w: w | {"global_step": torch.tensor(5), UNET + "something.else": torch.zeros(3)},
    "float64": lambda w: {n: value.double() for n, value in w.items()},
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_names_of_the_field(wrap: str, weights: dict[str, torch.Tensor], whole: str, tmp_path: Path) -> None:
    path = put(tmp_path / "model.SAFETENSORS", WRAPPED[wrap](weights))
    assert load_model(path).fingerprint == whole


def test_version_2_with_the_names_of_version_1(tmp_path: Path) -> None:
    from dragtext.sdk.model.export import to_original_layout

    right = put(tmp_path / "right.safetensors", single_file_weights(version=2))
    model = tiny_model(version=2, clip_vocabulary=True)
    text = {n.removeprefix("text_model."): value for n, value in model.text_encoder.state_dict().items()}
    named = to_original_layout(model.unet.state_dict(), model.vae.state_dict(), text)
    one, other = load_model(right), load_model(put(tmp_path / "renamed.safetensors", named))
    assert torch.equal(one.encode_text("a red cat").embedding, other.encode_text("a red cat").embedding)
    assert other.unet.config.upcast_attention
    assert other.text_encoder.config.hidden_act == "gelu"
    assert one.fingerprint == other.fingerprint


# Values


@pytest.mark.parametrize("name", ["scale_weight", "weight_scale"])
@pytest.mark.parametrize("rows", [False, True])
def test_scaled_float8_is_multiplied_out(
    name: str, rows: bool, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    scaled, marker = {}, {"scaled_fp8": torch.zeros(2).to(torch.float8_e4m3fn)}
    for key, value in weights.items():
        scaled[key] = value
        if key.startswith(UNET) and value.ndim > 1 and key.endswith(".weight"):
            largest = value.abs().reshape(len(value), -1).amax(1) if rows else value.abs().max()
            factor = (largest / 448).clamp(min=1e-12)
            spread = factor.reshape(-1, *[1] * (value.ndim - 1))
            scaled[key] = (value / spread).to(torch.float8_e4m3fn)
            scaled[key.removesuffix("weight") + name] = factor
    exact, model = tiny_model(clip_vocabulary=True), load_model(put(tmp_path / "fp8.safetensors", scaled | marker))
    for one, other in zip(exact.unet.parameters(), model.unet.parameters()):
        assert (one - other).abs().max() <= 0.07 * one.abs().max()


def test_scales_of_blocks_are_refused(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    name = UNET + "time_embed.0."
    for odd in ({name + "scale_weight": torch.ones(2, 3)}, {name + "weight_scale_inv": torch.ones(2, 2)}):
        assert "float16 version" in refusal(put(tmp_path / "odd.safetensors", weights | odd))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("name", [UNET + "out.2.weight", VAE + "quant_conv.bias"])
def test_weights_that_are_no_numbers(value: float, name: str, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    damaged = weights[name].clone()
    damaged.reshape(-1)[-1] = value
    message = refusal(put(tmp_path / "merge.safetensors", weights | {name: damaged}))
    assert name in message
    assert "merge.safetensors" in message


def test_nan_in_a_folder_names_the_part(folder: Path) -> None:
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    stored = load_file(file)
    put(file, stored | {"quant_conv.bias": torch.full_like(stored["quant_conv.bias"], float("nan"))})
    assert "tiny/vae/diffusion_pytorch_model.safetensors has NaN" in refusal(folder)


# Folders


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
def test_variants_of_a_folder(variants: tuple[str, ...], folder: Path, small_folder: Path) -> None:
    for part in ("unet", "text_encoder"):
        rename(folder / part, *variants)
    if "non_ema" in variants[1:]:  # what lies beside must not be taken
        (folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors").write_bytes(b"half a download")
    assert load_model(folder).fingerprint == load_model(small_folder).fingerprint


@pytest.mark.parametrize(
    "spelling",
    [
        "{stem}-0000{number}-of-00002.safetensors",
        "{stem}.fp16-0000{number}-of-00002.safetensors",
        "{stem}-0000{number}-of-00002.fp16.safetensors",
        "piece {number}.safetensors",
    ],
)
def test_shards_load_quietly(spelling: str, folder: Path, small_folder: Path, capfd: pytest.CaptureFixture) -> None:
    for part in ("unet", "vae", "text_encoder"):
        shard(folder / part, spelling)
    capfd.readouterr()
    assert load_model(folder).fingerprint == load_model(small_folder).fingerprint
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


def test_half_a_download_beside_a_whole_variant(folder: Path, small_folder: Path) -> None:
    copy = shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "kept")
    shard(folder / "unet")[1].unlink()
    shutil.copy(copy, folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    assert load_model(folder).fingerprint == load_model(small_folder).fingerprint


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
    assert model.predict(torch.randn(1, 4, 8, 8), 1, torch.randn(1, 77, 32)).isfinite().all()


# The native size


def version_2(path: Path, **metadata: str) -> Path:
    return put(path, single_file_weights(version=2), **metadata)


def test_native_sizes(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = version_2(tmp_path / "two.safetensors")
    assert load_model(path, prediction_type="v_prediction").native_resolution == 768
    assert load_model(path, prediction_type="epsilon").native_resolution == 512
    first = put(tmp_path / "one.safetensors", weights)
    assert load_model(first, prediction_type="v_prediction").native_resolution == 512
    first.with_suffix(".yaml").write_text("model: {params: {image_size: 32}}")
    assert load_model(first).native_resolution == 256
    path = put(tmp_path / "stated.safetensors", weights, **{"modelspec.resolution": "640x640"})
    assert load_model(path).native_resolution == 640


# Another autoencoder


def test_a_checkpoint_without_an_autoencoder(weights: dict[str, torch.Tensor], whole: str, tmp_path: Path) -> None:
    path = put(tmp_path / "novae.safetensors", {n: value for n, value in weights.items() if not n.startswith(VAE)})
    assert "--vae FILE" in refusal(path)
    parts = {n: value for n, value in weights.items() if n.startswith(VAE)}
    vae = tiny_model(clip_vocabulary=True).vae
    vae.save_pretrained(tmp_path / "model" / "vae")
    vaes = [
        put(tmp_path / "prefixed.safetensors", parts),
        put(tmp_path / "bare.safetensors", {n.removeprefix(VAE): value for n, value in parts.items()}),
        put(tmp_path / "diffusers.safetensors", vae.state_dict()),
        put(tmp_path / "checkpoint.safetensors", weights),
        tmp_path / "model" / "vae",
        tmp_path / "model",
    ]
    for source in vaes:
        assert load_model(path, vae=source).fingerprint == whole


def test_the_fingerprint_holds_the_autoencoder(weights: dict[str, torch.Tensor], folder: Path, tmp_path: Path) -> None:
    other = put(tmp_path / "vae.safetensors", {n: value * 1.01 for n, value in weights.items() if n.startswith(VAE)})
    path = put(tmp_path / "model.safetensors", weights)
    prints = {load_model(source, vae=vae).fingerprint for source in (path, folder) for vae in (None, other)}
    assert len(prints) == 4
    shutil.rmtree(folder / "vae")
    assert load_model(folder, vae=other).latent_scale == 0.18215


def test_what_is_no_autoencoder_for_this_model(weights: dict[str, torch.Tensor], folder: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "model.safetensors", weights)
    unet = {n: value for n, value in weights.items() if n.startswith(UNET)}
    assert "holds no autoencoder" in refusal(path, vae=put(tmp_path / "unet.safetensors", unet))
    assert "config.json is missing" in refusal(path, vae=folder / "tokenizer")
    assert "no vae at" in refusal(path, InputError, vae=tmp_path / "absent")
    config = folder / "vae" / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps(said | {"scaling_factor": 0.13025}))
    assert "scales latents by 0.13025" in refusal(path, vae=folder)
    config.write_text(json.dumps(said | {"_class_name": "AutoencoderTiny"}))
    assert "AutoencoderTiny" in refusal(path, vae=folder)


# What people give by mistake


@pytest.mark.parametrize(
    ("names", "word"),
    [
        (["first_stage_model.encoder.down.0.block.0.conv1.weight"], "--vae"),
        (["encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.resnets.0.conv1.weight"], "--vae"),
        (["text_model.embeddings.token_embedding.weight"], "a text encoder alone"),
        (["lora_unet_mid_block_attentions_0.hada_w1_a"], "LoRA"),
        (["lycoris_unet_x.lokr_w1"], "LoRA"),
        (["emb_params"], "textual inversion"),
        (["<my-cat>"], "textual inversion"),
        (["controlnet_cond_embedding.conv_in.weight"], "ControlNet"),
        (["ip_adapter.1.to_k_ip.weight"], "adapter"),
        (["down_blocks.0.motion_modules.0.norm.weight"], "adapter"),
        (["model.diffusion_model.out.2.weight.absmax"], "quantised"),
        (["model.diffusion_model.out.2.weight.quant_state.bitsandbytes__nf4"], "quantised"),
    ],
)
def test_what_is_no_checkpoint(names: list[str], word: str, tmp_path: Path) -> None:
    assert word in refusal(put(tmp_path / "model.safetensors", {name: torch.zeros(4, 4) for name in names}))


@pytest.mark.parametrize("prefix", ["", "diffusion_model.", UNET])
def test_a_unet_alone(prefix: str, weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    named = {n.replace(UNET, prefix): value for n, value in weights.items() if n.startswith(UNET)}
    assert "a U-Net alone" in refusal(put(tmp_path / "unet.safetensors", named))


def test_gguf(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"GGUF" + bytes(100))
    assert "GGUF" in refusal(path)


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


# Precision


def test_the_fingerprint_does_not_depend_on_the_precision(
    weights: dict[str, torch.Tensor], small_folder: Path, tmp_path: Path
) -> None:
    file = put(tmp_path / "half.safetensors", {name: value.half() for name, value in weights.items()})
    for source in (file, small_folder):
        prints = {load_model(source, dtype=dtype).fingerprint for dtype in ("float32", "bfloat16")}
        assert len(prints) == 1
    assert tiny_model(dtype=torch.bfloat16).fingerprint == tiny_model().fingerprint


def test_a_saved_state_opens_in_another_precision(small_folder: Path, tmp_path: Path) -> None:
    image = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8).numpy()
    half = load_model(small_folder, dtype="bfloat16")
    options = {"inference_steps": 4, "lora_steps": 1, "lora_rank": 2}
    for method in ("gooddrag", "dragnoise"):
        editor = sdk.Editor(half, image, "a cat")
        result = editor.drag([((20, 20), (40, 20))], method=method, steps=10 if method == "gooddrag" else 1, **options)
        state = result.save_state(tmp_path / "state.safetensors")
        opened = sdk.open_result(state, load_model(small_folder, dtype="float32"))
        assert opened.at(1.0).size == (64, 64)


def test_what_float16_cannot_hold(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from dragtext.sdk.model.weights import Weights, fill

    path = put(tmp_path / "large.safetensors", {"weight": torch.full((2, 2), 1e5), "bias": torch.zeros(2)})
    module = torch.nn.Linear(2, 2, device="meta")
    names = {"weight": "weight", "bias": "bias"}
    with pytest.raises(ModelError, match="float16 cannot hold"):
        fill(module, names, Weights.of(path.name, [path]), torch.float16, torch.device("cpu"))


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
