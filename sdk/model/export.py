"""Write a model in the original (LDM) key layout with its sidecar yaml, which WebUIs read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ModelError
from .keys import clip_names, unet_names, vae_names

if TYPE_CHECKING:
    from .diffusers import DiffusersModel

GROUPS = 32  # of every normalisation in the original code, where it is no parameter


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


def widened_autoencoder(vae: Any) -> tuple[dict[str, Tensor], list[int]]:
    """An AutoencoderKL with fewer than 32 groups as an equal one with 32, and the widths of its stages.

    The channels that are added are zero everywhere, so the first groups hold what they held and normalise as they did.
    Returns a state dict in diffusers' layout.
    """
    from diffusers import AutoencoderKL

    groups = int(vae.config.norm_num_groups)
    if GROUPS % groups:
        raise ModelError(f"The autoencoder normalises in {groups} groups, which do not divide {GROUPS}.")
    factor = GROUPS // groups
    widths = [factor * width for width in vae.config.block_out_channels]
    state = {name: tensor.detach().cpu().float() for name, tensor in vae.state_dict().items()}
    if factor == 1:
        return state, widths
    config = {**vae.config, "block_out_channels": widths, "norm_num_groups": GROUPS}
    with torch.device("meta"):
        wide = AutoencoderKL.from_config(config).state_dict()
    # Attention divides by the root of its width, which grows; the queries make up for it.
    state = {name: t * factor**0.5 if ".attentions.0.to_q." in name else t for name, t in state.items()}
    grown = {}
    for name, empty in wide.items():
        grown[name] = torch.zeros(empty.shape)
        grown[name][tuple(slice(side) for side in state[name].shape)] = state[name]
    return grown, widths


def export_checkpoint(model: DiffusersModel, path: Path, dtype: torch.dtype = torch.float16) -> list[Path]:
    """Write `path` (.safetensors), a yaml of the same name and a folder with the tokenizer and the text config.

    A1111 and Forge read the three from their folder of checkpoints. The yaml names the folder by its absolute path, so
    export again after moving it. Returns what was written. Raises ModelError for a model the original code cannot hold.
    """
    import yaml
    from safetensors.torch import save_file

    from ..picture.files import write_atomically

    unet = model.unet.config
    if unet.norm_num_groups != GROUPS or unet.use_linear_projection:  # type: ignore[union-attr]
        raise ModelError(f"Only a U-Net of Stable Diffusion 1.x's form, with {GROUPS} groups, can be exported.")
    vae, widths = widened_autoencoder(model.vae)
    weights = to_original_layout(model.unet.state_dict(), vae, model.text_encoder.state_dict())
    weights = {name: tensor.detach().cpu().to(dtype).contiguous().clone() for name, tensor in weights.items()}
    clip = path.with_name(f"{path.stem}-clip")
    clip.mkdir(parents=True, exist_ok=True)
    for name in ("vocab.json", "merges.txt"):  # of an earlier export, perhaps with another tokenizer
        (clip / name).unlink(missing_ok=True)
    model.tokenizer.save_pretrained(clip)
    _write_vocabulary(model.tokenizer, clip)
    model.text_encoder.config.save_pretrained(clip)
    description = yaml.safe_dump(_description(model, widths, clip.absolute()), sort_keys=False)
    metadata = {"format": "pt", "modelspec.prediction_type": model.prediction_type}
    write_atomically(path, lambda temporary: save_file(weights, temporary, metadata=metadata))
    side = write_atomically(path.with_suffix(".yaml"), lambda temporary: temporary.write_text(description))
    return [path, side, clip]


def _write_vocabulary(tokenizer: Any, folder: Path) -> None:
    """vocab.json and merges.txt, which the WebUIs' older transformers read and newer ones no longer write."""
    if (folder / "merges.txt").exists():
        return
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    (folder / "vocab.json").write_text(json.dumps(model["vocab"], ensure_ascii=False), encoding="utf-8")
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")


def _description(model: DiffusersModel, vae_widths: list[int], clip: Path) -> dict[str, Any]:
    """The original code's configuration."""
    unet: Any = model.unet.config
    channels = list(unet.block_out_channels)
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
        "scale_factor": model.latent_scale,
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
                "num_heads": unet.attention_head_dim,  # the number of heads, despite diffusers' name
                "use_spatial_transformer": True,
                "transformer_depth": 1,
                "context_dim": unet.cross_attention_dim,
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
                    "num_res_blocks": model.vae.config.layers_per_block,
                    "attn_resolutions": [],
                    "dropout": 0.0,
                },
                "lossconfig": {"target": "torch.nn.Identity"},
            },
        },
        "cond_stage_config": {
            "target": "ldm.modules.encoders.modules.FrozenCLIPEmbedder",
            "params": {"version": str(clip)},
        },
    }
    if model.prediction_type == "v_prediction":
        parameters["parameterization"] = "v"
    return {"model": {"target": "ldm.models.diffusion.ddpm.LatentDiffusion", "params": parameters}}
