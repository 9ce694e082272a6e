"""Load a model from a single safetensors file."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ModelError
from .base import PredictionType
from .checkpoint import Anatomy, anatomy
from .keys import (
    HEADS_KEY,
    clip_names,
    open_clip_names,
    second_clip_names,
    second_open_clip_names,
    unet_names,
    vae_names,
)
from .processor import suited_to_processor
from .quiet import quiet_libraries
from .vocabulary import clip_tokenizer
from .weights import Weights, fill

if TYPE_CHECKING:
    from .diffusers import DiffusersModel


def load_file(
    path: Path, name: str, prediction_type: PredictionType | None, vae: Path | None, options: dict[str, Any]
) -> DiffusersModel:
    """name: what the model is called. vae: file or folder whose autoencoder is used instead of the checkpoint's."""
    weights = Weights.of(path.name, [path])
    found = anatomy(weights, needs_vae=vae is None)
    sidecar = _sidecar(path, found.latent_scale)
    found.vae["scaling_factor"] = sidecar["scale_factor"]
    if heads := _heads(weights, sidecar):
        found.unet["attention_head_dim"] = heads
    with quiet_libraries():  # only now, since it imports them
        return _assemble(weights, found, sidecar, name, prediction_type, vae, options)


def _assemble(
    weights: Weights,
    found: Anatomy,
    sidecar: dict[str, Any],
    name: str,
    prediction_type: PredictionType | None,
    vae: Path | None,
    options: dict[str, Any],
) -> DiffusersModel:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from .autoencoder import load_autoencoder
    from .diffusers import DiffusersModel, scaled_linear_alphas

    device = options["device"]
    beside = torch.device("cpu") if options["rests"] else device
    with torch.device("meta"):
        unet = UNet2DConditionModel(**found.unet)
        text = CLIPTextModel(CLIPTextConfig(**found.text))
        second = CLIPTextModelWithProjection(CLIPTextConfig(**found.second)) if found.second else None
    text_names = open_clip_names if found.open_clip else clip_names
    options = {**options, "dtype": options["dtype"] or suited_to_processor(unet)}
    samples = [fill(unet, unet_names(unet.state_dict()), found.weights, options["dtype"], device)]
    if vae is None:
        with torch.device("meta"):
            autoencoder = AutoencoderKL(**found.vae)
        samples.append(fill(autoencoder, vae_names(autoencoder.state_dict()), found.weights, torch.float32, beside))
    else:
        autoencoder, values = load_autoencoder(vae, sidecar["scale_factor"], beside)
        samples.append(values)
    samples.append(fill(text, text_names(text.state_dict()), found.weights, torch.float32, beside))
    if second is not None:
        second_names = second_open_clip_names if found.second_open_clip else second_clip_names
        samples.append(fill(second, second_names(second.state_dict()), found.weights, torch.float32, beside))
    prediction_type = prediction_type or _stated_prediction(weights, sidecar)
    if prediction_type is None:
        prediction_type = _probe_prediction(unet) if found.family == "2.x" else "epsilon"
    # Files say little about the size they were made for, but of 2.x only those of 768 pixels predict v.
    sizes = {"1.x": 512, "2.x": 768 if prediction_type == "v_prediction" else 512, "xl": 1024}
    size = sizes[found.family]
    unet.register_to_config(sample_size=(_stated_size(weights, sidecar) or size) // 8)
    return DiffusersModel(
        unet,
        autoencoder,
        text,
        clip_tokenizer("!" if found.family == "2.x" else "<|endoftext|>"),
        alphas_cumprod=scaled_linear_alphas(zero_terminal_snr="ztsnr" in weights.shapes),
        prediction_type=prediction_type,
        name=name,
        samples=samples,
        text_encoder_2=second,
        tokenizer_2=None if second is None else clip_tokenizer("!"),
        **options,
    )


def _stated_prediction(weights: Weights, sidecar: dict[str, Any]) -> PredictionType | None:
    """What the yaml beside a checkpoint, its metadata or a marker weight say that the U-Net predicts."""
    said = sidecar.get("parameterization") or weights.metadata.get("modelspec.prediction_type", "")
    if str(said).lower() in ("v", "v_prediction", "v_pred") or "v_pred" in weights.shapes:
        return "v_prediction"
    return "epsilon" if str(said).lower() in ("eps", "epsilon") else None


def _stated_size(weights: Weights, sidecar: dict[str, Any]) -> int | None:
    """Side in pixels of the pictures that a file was made for, from its metadata or the yaml beside it."""
    if said := re.match(r"\s*(\d{2,4})(?:\s*x\s*\d+)?\s*$", str(weights.metadata.get("modelspec.resolution", ""))):
        return int(said[1])
    size = sidecar.get("image_size")
    # The published yaml files say 64 latent cells for 512 and for 768 pixels alike.
    return 8 * size if isinstance(size, int) and 8 <= size <= 256 and size != 64 else None


def _heads(weights: Weights, sidecar: dict[str, Any]) -> int | None:
    """The number of attention heads where the yaml or our export gives one; shapes of layers do not tell it."""
    try:
        heads = sidecar["unet_config"]["params"].get("num_heads")
    except (KeyError, TypeError, AttributeError):
        heads = None
    marked = next((shape for name, shape in weights.shapes.items() if name.endswith(HEADS_KEY)), None)
    heads = marked[0] if heads is None and marked else heads
    return heads if isinstance(heads, int) and heads > 0 else None


@torch.no_grad()
def _probe_prediction(unet: Any) -> PredictionType:
    """Tell v from eps prediction of Stable Diffusion 2.x as A1111 does: a constant at the last timestep.

    There the input is practically noise. An eps network gives it back; a v network gives minus the image, far
    below the input for a constant of 0.5.
    """
    weight = next(unet.parameters())
    latent = torch.full((1, 4, 8, 8), 0.5, device=weight.device, dtype=weight.dtype)
    text = torch.full((1, 2, unet.config.cross_attention_dim), 0.5, device=weight.device, dtype=weight.dtype)
    difference = unet(latent, 999, encoder_hidden_states=text, return_dict=False)[0].float() - 0.5
    return "v_prediction" if difference.mean().item() < -1 else "epsilon"


def _sidecar(path: Path, scale: float) -> dict[str, Any]:
    """`model.params` of `name.yaml` beside `name.safetensors`, a convention of A1111; `scale` where it names none."""
    sidecar = path.with_suffix(".yaml")
    if not sidecar.is_file():
        return {"scale_factor": scale}
    import yaml

    try:
        content = yaml.safe_load(sidecar.read_text(encoding="utf-8"))
        found = dict(content["model"]["params"])
        found["scale_factor"] = float(found.get("scale_factor", scale))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        msg = f"{sidecar.name} beside the checkpoint is not a model description; correct or remove it."
        raise ModelError(msg) from error
    if not 0 < found["scale_factor"] < math.inf:
        msg = f"{sidecar.name} beside the checkpoint gives a scale_factor that is not above 0; correct it."
        raise ModelError(msg)
    return found
