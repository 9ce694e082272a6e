"""The demonstration model's networks, untrained, and the folder that they ship in."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 128
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# Whole multiples of the first: the original layout, which hosts read, can say no others.
WIDTHS = (64, 128, 128, 192)
SPREAD = 0.05  # of the latent's noise that the decoder is trained with, and so of what the encoder says


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=4,  # few groups: with one channel per group a flat image loses its colour
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def new_unet(widths: tuple[int, ...] = WIDTHS) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=widths,
        layers_per_block=1,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
    )


def new_text_encoder(tokenizer: CLIPTokenizer, layers: int = 3) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=layers,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


class Painter(nn.Module):
    """What is trained in one piece: a U-Net, and what reads captions for it."""

    pipeline = "StableDiffusionPipeline"  # diffusers' name for the folder

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text = unet, text

    def forward(self, noisy: Tensor, timesteps: Tensor | int, rows: Tensor) -> Tensor:
        """(n, 4, h, w) v prediction for noisy latents. timesteps: (n,) or one for all; rows: (n, 77) tokens."""
        return self.unet(noisy, timesteps, self.text(rows).last_hidden_state).sample

    def parts(self) -> dict[str, nn.Module]:
        """By the names of their folders."""
        return {"unet": self.unet, "text_encoder": self.text}


def cumulative_alphas() -> Tensor:
    """(1000,) of the training schedule."""
    return DDIMScheduler(**SCHEDULE).alphas_cumprod


def export(target: Path, painter: Painter, autoencoder: AutoencoderKL, tokenizer: Path) -> None:
    """Write painter and autoencoder as a half-precision diffusers folder.

    The folder is complete before anything of it stands at `target`; other files there, as the card, stay.
    """
    folder = target.with_name(f".{target.name}-new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rest = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    DDIMScheduler(**SCHEDULE, **rest).save_pretrained(folder / "scheduler")
    autoencoder.register_to_config(scaling_factor=1.0)
    index: dict[str, Any] = {"_class_name": painter.pipeline, "scheduler": ["diffusers", "DDIMScheduler"]}
    for name, module in {**painter.parts(), "vae": autoencoder}.items():
        library = type(module).__module__.split(".")[0]
        index[name] = [library, type(module).__name__]
        module.save_pretrained(folder / name)
        weights = {
            key: value.detach().half().contiguous().cpu()
            for key, value in module.state_dict().items()
            if "position_ids" not in key
        }
        file = "model.safetensors" if library == "transformers" else "diffusion_pytorch_model.safetensors"
        save_file(weights, folder / name / file, metadata={"format": "pt"})
        if library == "transformers":  # each text encoder has a tokenizer beside it
            words = name.replace("text_encoder", "tokenizer")
            index[words] = ["transformers", "CLIPTokenizer"]
            shutil.copytree(tokenizer, folder / words)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)
    shutil.rmtree(folder)


@torch.no_grad()
def settle(model: AutoencoderKL) -> None:
    """Give the encoder's posterior the deviation SPREAD everywhere: training reads its mean alone.

    Whoever draws from it, as an identity LoRA and a WebUI's img2img do, then draws what the decoder knows.
    """
    into = model.quant_conv
    into.weight[4:] = 0
    into.bias[4:] = 2 * math.log(SPREAD)  # the variance's logarithm


@torch.no_grad()
def standardise(model: AutoencoderKL, mean: Tensor, std: Tensor) -> None:
    """Fold (4,) means and deviations of the latent's channels into the 1x1 convolutions: then all weigh the same."""
    into, back = model.quant_conv, model.post_quant_conv
    into.weight[:4] /= std[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - mean) / std
    into.bias[4:] -= 2 * std.log()  # the variance's logarithm
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= std[None, :, None, None]
