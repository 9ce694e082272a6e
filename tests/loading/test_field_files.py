"""Single files as they are found in the field: wrapped, renamed, scaled, without a part; and mistakes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from dragtext import sdk
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model.load import load_model

from ..tiny import single_file_weights, tiny_model
from .conftest import TEXT, UNET, VAE, put, refusal

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
    assert torch.equal(one.encode_text("a red cat").tokens, other.encode_text("a red cat").tokens)
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


# Precision


def test_the_fingerprint_does_not_depend_on_the_precision(
    weights: dict[str, torch.Tensor], saved: Path, tmp_path: Path
) -> None:
    file = put(tmp_path / "half.safetensors", {name: value.half() for name, value in weights.items()})
    for source in (file, saved):
        prints = {load_model(source, dtype=dtype).fingerprint for dtype in ("float32", "bfloat16")}
        assert len(prints) == 1
    assert tiny_model(dtype=torch.bfloat16).fingerprint == tiny_model().fingerprint


def test_a_saved_state_opens_in_another_precision(saved: Path, tmp_path: Path) -> None:
    image = torch.randint(0, 255, (64, 64, 3), dtype=torch.uint8).numpy()
    half = load_model(saved, dtype="bfloat16")
    options = {"inference_steps": 4, "lora_steps": 1, "lora_rank": 2}
    for method in ("gooddrag", "dragnoise"):
        editor = sdk.Editor(half, image, "a cat")
        result = editor.drag([((20, 20), (40, 20))], method=method, steps=10 if method == "gooddrag" else 1, **options)
        state = result.save_state(tmp_path / "state.safetensors")
        opened = sdk.open_result(state, load_model(saved, dtype="float32"))
        assert opened.at(1.0).size == (64, 64)


def test_what_float16_cannot_hold(weights: dict[str, torch.Tensor], tmp_path: Path) -> None:
    from dragtext.sdk.model.weights import Weights, fill

    path = put(tmp_path / "large.safetensors", {"weight": torch.full((2, 2), 1e5), "bias": torch.zeros(2)})
    module = torch.nn.Linear(2, 2, device="meta")
    names = {"weight": "weight", "bias": "bias"}
    with pytest.raises(ModelError, match="float16 cannot hold"):
        fill(module, names, Weights.of(path.name, [path]), torch.float16, torch.device("cpu"))
