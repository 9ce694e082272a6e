"""Write a model in the original (LDM) key layout with its sidecar yaml, which WebUIs read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ModelError
from .checkpoint import LATENT_SCALE
from .diffusers import scaled_linear_alphas
from .keys import CLIP_PREFIX, HEADS_KEY, clip_names, unet_names, vae_names
from .recommended import recommended_file
from .vocabulary import clip_tokenizer, clip_tokenizer_files, clip_vocabulary
from .widen import (
    AUTOENCODER_LAYERS,
    CLIP_L,
    GROUPS,
    UNET_HEADS,
    UNET_WIDTH,
    clip_l,
    deeper_autoencoder,
    narrowed_autoencoder,
    rescaled_autoencoder,
    unet_factor,
    wide_unet,
    widened_autoencoder,
)

if TYPE_CHECKING:
    from .diffusers import DiffusersModel


def to_original_layout(
    unet: Mapping[str, Tensor], vae: Mapping[str, Tensor], text: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """State dicts in diffusers' layout -> one in the layout of Stable Diffusion 1.x checkpoints.

    unet: of a UNet2DConditionModel; vae: of an AutoencoderKL; text: of a CLIPTextModel. The tensors are
    shared with the input, not copied; the autoencoder's attention weights (c, c) become (c, c, 1, 1).
    """
    original = {new: unet[old] for old, new in unet_names(unet).items()}
    for old, new in vae_names(vae).items():
        convolution = ".mid.attn_1." in new and vae[old].ndim == 2
        original[new] = vae[old][:, :, None, None] if convolution else vae[old]
    original |= {new: text[old] for old, new in clip_names(text).items() if not old.endswith("position_ids")}
    return original


def export_checkpoint(
    model: DiffusersModel,
    path: Path,
    dtype: torch.dtype = torch.float16,
    *,
    forge: bool = False,
    with_tokenizer: bool = False,
) -> list[Path]:
    """Write `path` (.safetensors) and a yaml of the same name, which belong into a WebUI's folder of checkpoints.

    Settings that come with the model are written beside them (NAME.dragtext.json).

    Nothing in them names a place, so both can be moved together. The text encoder is written with the sizes and the
    vocabulary of CLIP ViT-L/14 and the latents with Stable Diffusion's scale, so that hosts use their own tokenizer and
    settings; the numbers stay the model's, all but the autoencoder's spread, which is left out. A word of the model
    that CLIP spells in two pieces has its meaning in both.
    forge: also widen the U-Net to 320 channels and the autoencoder to its usual depth. Stock Forge, which knows models
    by their sizes, then reads the file; the U-Net takes (320 / width)^2 times the work.

    with_tokenizer: also write NAME-clip/ with CLIP's tokenizer, for an A1111 that has never been online; the yaml names
        that folder then, by its absolute path.

    Returns what was written, all or nothing. Raises ModelError for a model that the original code cannot hold,
    InputError where the files cannot be written.
    """
    import yaml
    from safetensors.torch import save_file

    from ..picture.files import make_folder, write_atomically

    _check(model)
    unet, vae_config = model.unet.config, model.vae.config
    times = unet_factor(model.unet) if forge else 1
    heads = UNET_HEADS if forge else unet.attention_head_dim
    vae, vae_widths = widened_autoencoder(model.vae)
    vae = narrowed_autoencoder(rescaled_autoencoder(vae, model.latent_scale))
    if forge:
        vae = deeper_autoencoder(vae, vae_widths, vae_config.layers_per_block)
    try:
        weights = to_original_layout(
            wide_unet(model.unet, CLIP_L["hidden_size"], times, heads), vae, clip_l(model.text_encoder)
        )
    except (KeyError, ValueError) as error:
        raise ModelError(f"The original layout has no place for a part of this model ({error}).") from error
    token = f"{CLIP_PREFIX}embeddings.token_embedding.weight"
    weights[token] = _clip_embedding(model.tokenizer, weights[token])
    weights = {name: tensor.to(dtype).contiguous().clone() for name, tensor in weights.items()}
    if torch.stack([tensor.isinf().any() for tensor in weights.values()]).any():
        raise ModelError(f"The weights leave the range of {dtype}; export them in float32.")
    if model.prediction_type == "v_prediction":
        weights["v_pred"] = torch.empty(0)
    if _has_zero_terminal_snr(model):
        weights["ztsnr"] = torch.empty(0)
    if heads != UNET_HEADS:
        weights[HEADS_KEY] = torch.zeros(heads)
    metadata = {
        "format": "pt",
        "modelspec.prediction_type": "v" if model.prediction_type == "v_prediction" else "epsilon",
        "modelspec.resolution": f"{model.native_resolution}x{model.native_resolution}",
    }
    depth = AUTOENCODER_LAYERS if forge else vae_config.layers_per_block
    widths = [times * width for width in unet.block_out_channels]
    described = describe(model, widths, heads, CLIP_L["hidden_size"], vae_widths, depth)
    clip = path.with_name(f"{path.stem}-clip")
    if with_tokenizer:
        stage = described["model"]["params"]["cond_stage_config"]
        stage["params"] = {"version": str(clip.absolute())}
    written = [(path.with_suffix(".yaml"), yaml.safe_dump(described, sort_keys=False))]
    if model.recommended:
        settings = json.dumps({"settings": model.recommended}, indent=2)
        written.append((recommended_file(path), settings + "\n"))
    beside = [file for file, _ in written]
    if with_tokenizer:
        written += [(clip / name, text) for name, text in clip_tokenizer_files().items()]
    with _all_or_nothing([file for file, _ in written]):
        if with_tokenizer:
            make_folder(clip)
        for file, text in written:
            write_atomically(file, partial(_write_text, text))
        write_atomically(path, lambda temporary: save_file(weights, temporary, metadata=metadata))
    return [path, *beside, *([clip] if with_tokenizer else [])]


@contextmanager
def _all_or_nothing(files: list[Path]) -> Iterator[None]:
    """Put small files back as they were if the block fails."""
    before = {file: file.read_bytes() if file.is_file() else None for file in files}
    folders = {file.parent for file in files if not file.parent.exists()}
    try:
        yield
    except BaseException:
        for file, content in before.items():
            with suppress(OSError):
                file.unlink(missing_ok=True) if content is None else file.write_bytes(content)
        for folder in folders:
            with suppress(OSError):
                folder.rmdir()
        raise


def _write_text(text: str, path: Path) -> None:
    path.write_text(text, encoding="utf-8")


def forge_hint(model: DiffusersModel) -> str | None:
    """What to tell about Forge where a model was not exported for it; None if it reads the file anyway."""
    width = model.unet.config.block_out_channels[0]
    if width == UNET_WIDTH and model.vae.config.layers_per_block == AUTOENCODER_LAYERS:
        return None
    return (
        "A1111 reads this file; stock Forge knows models by their sizes and refuses it: --forge writes one that it "
        f"reads and that computes the same in about {(UNET_WIDTH / width) ** 2:.0f} times the work."
    )


def _check(model: DiffusersModel) -> None:
    """Raise ModelError unless the original code, which knows few settings, can hold the model."""
    unet, vae = model.unet.config, model.vae.config
    widths, vae_widths = list(unet.block_out_channels), list(vae.block_out_channels)
    attends = ["CrossAttn" in kind for kind in unet.down_block_types]
    known = {"CrossAttnDownBlock2D", "DownBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"}
    transformers = unet.transformer_layers_per_block
    if unet.norm_num_groups != GROUPS or unet.use_linear_projection:
        what = f"Only a U-Net of Stable Diffusion 1.x's form, with {GROUPS} groups, can be exported"
    elif any(width % widths[0] for width in widths) or any(width % vae_widths[0] for width in vae_widths):
        what = f"The widths {widths} and {vae_widths} must be whole multiples of the first to be exported"
    elif not isinstance(unet.layers_per_block, int) or not isinstance(unet.attention_head_dim, int):
        what = "A U-Net with stages of different depths or heads cannot be exported"
    elif (
        not known.issuperset([*unet.down_block_types, *unet.up_block_types])
        or attends != ["CrossAttn" in kind for kind in reversed(unet.up_block_types)]
        or unet.mid_block_type != "UNetMidBlock2DCrossAttn"
        or set(transformers if isinstance(transformers, (list, tuple)) else [transformers]) != {1}
        or (unet.act_fn, unet.freq_shift, unet.flip_sin_to_cos) != ("silu", 0, True)
    ):
        what = "A U-Net with other blocks than Stable Diffusion 1.x's cannot be exported"
    elif not (getattr(vae, "mid_block_add_attention", True) and hasattr(model.vae.quant_conv, "weight")):
        what = "An autoencoder without attention or latent projections cannot be exported"
    elif not (_has_zero_terminal_snr(model) or torch.allclose(model.alphas_cumprod, scaled_linear_alphas(), rtol=1e-6)):
        what = "A model with a noise schedule other than Stable Diffusion's cannot be exported"
    else:
        return
    raise ModelError(f"{what}.")


def _has_zero_terminal_snr(model: DiffusersModel) -> bool:
    return bool(torch.allclose(model.alphas_cumprod, scaled_linear_alphas(zero_terminal_snr=True), rtol=1e-6))


def _clip_embedding(tokenizer: Any, own: Tensor) -> Tensor:
    """(49408, width) token embedding for CLIP's vocabulary from a model's own (words, width) one.

    A word that the model does not know gets the mean of its letters. Of a word of the model that CLIP spells in pieces,
    every piece that means nothing else gets the word's row.
    """
    words, _ = clip_vocabulary()
    known: dict[str, int] = tokenizer.get_vocab()
    if known == words:
        return own
    if missing := [letter for letter in words if len(letter.removesuffix("</w>")) == 1 and letter not in known]:
        raise ModelError(f"The model's vocabulary lacks the letter {missing[0]!r} of CLIP's and cannot be exported.")
    pieces: dict[str, int] = {}
    spell = clip_tokenizer("!")
    for word, row in sorted(known.items(), key=lambda item: len(item[0])):
        if word not in words and word.endswith("</w>") and word.isascii():
            pieces |= dict.fromkeys(spell.tokenize(word.removesuffix("</w>")), row)
    meant: list[list[int]] = []  # per word of CLIP's, in the order of its numbers
    for word in words:
        found = known.get(word, pieces.get(word))
        if word in pieces and len(word) > 1 and not word.endswith("</w>"):
            found = pieces[word]  # the model's own beginnings of words are steps on the way to them and mean nothing
        if found is not None:
            meant.append([found])
        else:
            letters = list(word.removesuffix("</w>"))
            letters[-1] += "</w>" if word.endswith("</w>") else ""
            meant.append([known[letter] for letter in letters])
    starts = torch.tensor([0, *accumulate(map(len, meant[:-1]))])
    return torch.nn.functional.embedding_bag(torch.tensor(list(chain(*meant))), own.float(), starts, mode="mean")


def describe(
    model: DiffusersModel, channels: list[int], heads: int, context: int, vae_widths: list[int], vae_layers: int
) -> dict[str, Any]:
    """The original code's configuration of a model, in these sizes."""
    unet: Any = model.unet.config
    attends = [2**i for i, kind in enumerate(unet.down_block_types) if "CrossAttn" in kind]
    parameters: dict[str, Any] = {
        "linear_start": 0.00085,
        "linear_end": 0.012,
        "num_timesteps_cond": 1,
        "log_every_t": 200,
        "timesteps": 1000,
        "first_stage_key": "jpg",
        "cond_stage_key": "txt",
        "image_size": unet.sample_size,
        "channels": 4,
        "cond_stage_trainable": False,
        "conditioning_key": "crossattn",
        "monitor": "val/loss_simple_ema",
        "scale_factor": LATENT_SCALE,
        "use_ema": False,
        "unet_config": {
            "target": "ldm.modules.diffusionmodules.openaimodel.UNetModel",
            "params": {
                "image_size": unet.sample_size,
                "in_channels": 4,
                "out_channels": 4,
                "model_channels": channels[0],
                "attention_resolutions": attends,
                "num_res_blocks": unet.layers_per_block,
                "channel_mult": [width // channels[0] for width in channels],
                "num_heads": heads,
                "use_spatial_transformer": True,
                "transformer_depth": 1,
                "context_dim": context,
                "use_checkpoint": False,
                "legacy": False,
            },
        },
        "first_stage_config": {
            "target": "ldm.models.autoencoder.AutoencoderKL",
            "params": {
                "embed_dim": 4,
                "monitor": "val/rec_loss",
                "ddconfig": {
                    "double_z": True,
                    "z_channels": 4,
                    "resolution": 8 * unet.sample_size,
                    "in_channels": 3,
                    "out_ch": 3,
                    "ch": vae_widths[0],
                    "ch_mult": [width // vae_widths[0] for width in vae_widths],
                    "num_res_blocks": vae_layers,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                },
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {"target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder"},
    }
    if model.prediction_type == "v_prediction":
        parameters["parameterization"] = "v"
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": parameters}}
