"""A miniature Stable Diffusion, random but well scaled, made in a moment and without any download.

Four stages, one layer per block, cross-attention of width 32, autoencoder of factor 8: everything that the
code reads from a real model is there. Equal arguments give equal weights. `tiny_xl` has SDXL's form: three stages, two
text encoders side by side, a pooled vector and sizes.
"""

from __future__ import annotations

import copy
import json
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from dragtext.sdk.model.diffusers import DiffusersModel, scaled_linear_alphas
from dragtext.sdk.model.export import to_original_layout
from torch import Tensor, nn

TEXT_WIDTH = 32
SECOND_WIDTH, POOLED_WIDTH, SIZE_WIDTH = 64, 48, 8  # of SDXL's second encoder, its pooled vector, each size it is told
XL_SCALE = 0.13025
CLIP_WORDS = 49408
MERGES = ("c a", "ca t</w>", "d o", "do g</w>", "t h", "th e</w>", "r e", "re d</w>")


def tiny_model(
    seed: int = 0,
    prediction_type: str = "epsilon",
    *,
    version: int = 1,
    clip_vocabulary: bool = False,
    dtype: torch.dtype = torch.float32,
    name: str = "tiny",
    width: int = 64,
) -> DiffusersModel:
    """A tiny model in memory; version 2 has linear projections and heads of 64, as Stable Diffusion 2.x has.

    clip_vocabulary: use CLIP's 49408 words, as single files need, instead of a small vocabulary made here.
    width: channels of the U-Net.
    """
    unet, vae, text = copy.deepcopy(_networks(seed, version, clip_vocabulary, width))
    return DiffusersModel(
        unet,
        vae,
        text,
        copy.copy(_tokenizer(version, clip_vocabulary)),
        alphas_cumprod=scaled_linear_alphas(),
        prediction_type=prediction_type,
        name=name,
        dtype=dtype,
    )


def tiny_xl(
    seed: int = 0,
    prediction_type: str = "epsilon",
    *,
    clip_vocabulary: bool = False,
    dtype: torch.dtype = torch.float32,
    zero_terminal_snr: bool = False,
) -> DiffusersModel:
    """A tiny model in memory that has SDXL's form."""
    unet, vae, text, second = copy.deepcopy(_xl_networks(seed, clip_vocabulary))
    return DiffusersModel(
        unet,
        vae,
        text,
        copy.copy(_tokenizer(1, clip_vocabulary)),
        alphas_cumprod=scaled_linear_alphas(zero_terminal_snr=zero_terminal_snr),
        prediction_type=prediction_type,
        name="tiny-xl",
        dtype=dtype,
        text_encoder_2=second,
        tokenizer_2=copy.copy(_second_tokenizer(clip_vocabulary)),
    )


def write_diffusers_folder(path: Path | str, xl: bool = False, **options: Any) -> Path:
    """Save `tiny_model(**options)`, or `tiny_xl`, as a diffusers folder with safetensors weights."""
    path = Path(path)
    model = tiny_xl(**options) if xl else tiny_model(**options)
    model.unet.save_pretrained(path / "unet")
    model.vae.save_pretrained(path / "vae")
    model.text_encoder.save_pretrained(path / "text_encoder", safe_serialization=True)
    if xl:
        model.text_encoder_2.save_pretrained(path / "text_encoder_2", safe_serialization=True)
    for part, tokenizer in (("tokenizer", model.tokenizer), ("tokenizer_2", model.tokenizer_2)):
        if options.get("clip_vocabulary") and tokenizer is not None:
            tokenizer.save_pretrained(path / part)
        elif tokenizer is not None:
            _write_tokenizer(path / part, tokenizer.pad_token)
    scheduler = {
        "_class_name": "DDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "prediction_type": model.prediction_type,
        "rescale_betas_zero_snr": bool(options.get("zero_terminal_snr")),
    }
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (path / "model_index.json").write_text(json.dumps({"_class_name": f"StableDiffusion{'XL' * xl}Pipeline"}))
    return path


def single_file_weights(version: int = 1, **options: Any) -> dict[str, Tensor]:
    """`tiny_model(clip_vocabulary=True, ...)` as the weights of a checkpoint in the original layout."""
    model = tiny_model(version=version, clip_vocabulary=True, **options)
    text = model.text_encoder.state_dict()
    text = {name.removeprefix("text_model."): value for name, value in text.items()}
    weights = to_original_layout(model.unet.state_dict(), model.vae.state_dict(), text)
    if version == 2:
        weights = {name: value for name, value in weights.items() if not name.startswith("cond_stage_model.")}
        weights |= open_clip_weights(text)
    return {name: value.contiguous() for name, value in weights.items()}


def xl_single_file_weights(**options: Any) -> dict[str, Tensor]:
    """`tiny_xl(clip_vocabulary=True, ...)` as the weights of a checkpoint in the original layout."""
    return xl_original_layout(tiny_xl(clip_vocabulary=True, **options))


def xl_original_layout(model: DiffusersModel) -> dict[str, Tensor]:
    """The weights of a model of SDXL's form under the names of its single files."""
    text, second = (
        {name.removeprefix("text_model."): value for name, value in encoder.state_dict().items()}
        for encoder in (model.text_encoder, model.text_encoder_2)
    )
    weights = to_original_layout(model.unet.state_dict(), model.vae.state_dict(), text)
    old, new = "cond_stage_model.", "conditioner.embedders.0."
    weights = {name.replace(old, new): value for name, value in weights.items()}
    weights |= open_clip_weights(second, "conditioner.embedders.1.model.", more=0)
    weights["conditioner.embedders.1.model.text_projection"] = second["text_projection.weight"].t()
    weights["conditioner.embedders.1.model.logit_scale"] = torch.tensor(4.6)
    return {name: value.contiguous() for name, value in weights.items()}


def write_single_file(path: Path | str, metadata: dict[str, str] | None = None, **options: Any) -> Path:
    """Save `single_file_weights(**options)` as a safetensors file."""
    from safetensors.torch import save_file

    save_file(single_file_weights(**options), str(path), metadata=metadata)
    return Path(path)


def open_clip_weights(
    text: dict[str, Tensor], prefix: str = "cond_stage_model.model.", more: int = 1
) -> dict[str, Tensor]:
    """A CLIP text encoder's weights as OpenCLIP names them; more: last layers that must be ignored.

    Written out on its own, so that it checks the reader's table instead of repeating it.
    """
    layers = 1 + max(int(name.split(".")[2]) for name in text if name.startswith("encoder.layers."))
    out = {
        prefix + "token_embedding.weight": text["embeddings.token_embedding.weight"],
        prefix + "positional_embedding": text["embeddings.position_embedding.weight"],
        prefix + "ln_final.weight": text["final_layer_norm.weight"],
        prefix + "ln_final.bias": text["final_layer_norm.bias"],
    }
    for index in range(layers + more):
        old, new = f"encoder.layers.{min(index, layers - 1)}.", f"{prefix}transformer.resblocks.{index}."
        for kind in ("weight", "bias"):
            stacked = [text[f"{old}self_attn.{part}_proj.{kind}"] for part in "qkv"]
            out[f"{new}attn.in_proj_{kind}"] = torch.cat(stacked)
            out[f"{new}attn.out_proj.{kind}"] = text[f"{old}self_attn.out_proj.{kind}"]
            out[f"{new}mlp.c_fc.{kind}"] = text[f"{old}mlp.fc1.{kind}"]
            out[f"{new}mlp.c_proj.{kind}"] = text[f"{old}mlp.fc2.{kind}"]
            out[f"{new}ln_1.{kind}"] = text[f"{old}layer_norm1.{kind}"]
            out[f"{new}ln_2.{kind}"] = text[f"{old}layer_norm2.{kind}"]
    return {name: value.clone() for name, value in out.items()}


@lru_cache(maxsize=16)  # initialising takes longer than copying
def _networks(seed: int, version: int, clip_vocabulary: bool, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    words = CLIP_WORDS if clip_vocabulary else len(_vocabulary())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(
            sample_size=8,
            # With 32 groups, as everywhere in Stable Diffusion, 64 channels give each group two.
            block_out_channels=(width,) * 4,
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
            cross_attention_dim=TEXT_WIDTH,
            attention_head_dim=8 if version == 1 else [1, 1, 1, 1],
            use_linear_projection=version == 2,
        )
        vae = AutoencoderKL(
            sample_size=64,
            block_out_channels=(32, 32, 32, 32),
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
        )
        text = CLIPTextModel(
            _text_config(
                words,
                hidden_size=TEXT_WIDTH,
                intermediate_size=64,
                num_hidden_layers=2,
                hidden_act="quick_gelu" if version == 1 else "gelu",
                pad_token_id=words - 1,
            )
        )
        rescale(unet, vae, TEXT_WIDTH)
    return unet, vae, text


def _text_config(words: int, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1}
    return CLIPTextConfig(vocab_size=words, num_attention_heads=1, max_position_embeddings=77, **ends, **more)


@lru_cache(maxsize=4)
def _xl_networks(seed: int, clip_vocabulary: bool) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection

    _, vae, text = copy.deepcopy(_networks(seed, 1, clip_vocabulary, 64))
    words = CLIP_WORDS if clip_vocabulary else len(_vocabulary())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        unet = UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(64, 128, 128),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 1, 2),
            cross_attention_dim=TEXT_WIDTH + SECOND_WIDTH,
            attention_head_dim=(1, 2, 2),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=POOLED_WIDTH + 6 * SIZE_WIDTH,
        )
        second = CLIPTextModelWithProjection(
            _text_config(
                words,
                hidden_size=SECOND_WIDTH,
                intermediate_size=96,
                num_hidden_layers=3,
                hidden_act="gelu",
                projection_dim=POOLED_WIDTH,
                pad_token_id=0,
            )
        )
        vae.register_to_config(scaling_factor=XL_SCALE)
        sizes = {"text_embeds": torch.randn(1, POOLED_WIDTH), "time_ids": torch.full((1, 6), 64.0)}
        rescale(unet, vae, TEXT_WIDTH + SECOND_WIDTH, sizes)
    return unet, vae, text, second


@torch.no_grad()
def rescale(unet: nn.Module, vae: nn.Module, text_width: int, more: dict[str, Tensor] | None = None) -> None:
    """Give latents, predictions and pictures the spread of a trained model, and the prompt a say."""
    for name, weight in unet.named_parameters():
        if "attn2.to_v" in name or "attn2.to_out.0.weight" in name:
            weight *= 4
    image = torch.nn.functional.interpolate(torch.rand(1, 3, 16, 16) * 2 - 1, size=(64, 64), mode="bilinear")
    moments = vae.quant_conv(vae.encoder(image))
    scale = vae.config.scaling_factor
    vae.quant_conv.weight[:4] *= 0.9 / scale / moments[:, :4].std()
    vae.quant_conv.bias[:4] = 0
    if more is None:  # the miniature SDXL has this autoencoder, too
        vae.quant_conv.bias[4:] -= 6
    latent = torch.randn(1, 4, 8, 8)
    vae.decoder.conv_out.weight *= 0.45 / vae.decode(latent / scale).sample.std()
    text = torch.randn(1, 77, text_width)
    predicted = unet(latent, 500, encoder_hidden_states=text, added_cond_kwargs=more)
    unet.conv_out.weight *= 0.8 / predicted.sample.std()


@lru_cache
def _tokenizer(version: int, clip_vocabulary: bool) -> Any:
    from transformers import CLIPTokenizer

    if clip_vocabulary:
        from dragtext.sdk.model.vocabulary import clip_tokenizer

        return clip_tokenizer("<|endoftext|>" if version == 1 else "!")
    with tempfile.TemporaryDirectory() as folder:
        _write_tokenizer(Path(folder))
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _second_tokenizer(clip_vocabulary: bool) -> Any:
    """With another pad token, as SDXL's second encoder has it."""
    from transformers import CLIPTokenizer

    if clip_vocabulary:
        return _tokenizer(2, True)
    with tempfile.TemporaryDirectory() as folder:
        _write_tokenizer(Path(folder), "!")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _vocabulary() -> list[str]:
    """Every byte as CLIP spells it, alone and ending a word, a few merges, and the two special tokens."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(code) for code in plain] + [chr(256 + k) for k in range(256 - len(plain))]
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*symbols, *(symbol + "</w>" for symbol in symbols), *merged, "<|startoftext|>", "<|endoftext|>"]


def _write_tokenizer(folder: Path, pad_token: str = "<|endoftext|>") -> None:
    folder.mkdir(exist_ok=True)
    vocabulary = {word: index for index, word in enumerate(_vocabulary())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": pad_token,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
