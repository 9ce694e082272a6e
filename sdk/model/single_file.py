"""Load a model from a single safetensors file in the original (LDM) key layout."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import PredictionType
from .checkpoint import LATENT_SCALE, SUPPORTED, Header, anatomy, read_header
from .keys import clip_names, open_clip_names, unet_names, vae_names
from .vocabulary import clip_tokenizer

if TYPE_CHECKING:
    from .diffusers import DiffusersModel


def load_file(path: Path, prediction_type: PredictionType | None, options: dict[str, Any]) -> DiffusersModel:
    header = read_header(path)
    found = anatomy(path, header)

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from .diffusers import DiffusersModel, scaled_linear_alphas

    sidecar = _sidecar(path)
    found.vae["scaling_factor"] = sidecar.get("scale_factor", LATENT_SCALE)
    with torch.device("meta"):
        unet = UNet2DConditionModel(**found.unet)
        vae = AutoencoderKL(**found.vae)
        text = CLIPTextModel(CLIPTextConfig(**found.text))
    text_names = clip_names if found.generation == 1 else open_clip_names
    _fill(unet, unet_names(unet.state_dict()), path, options["dtype"], options["device"])
    _fill(vae, vae_names(vae.state_dict()), path, torch.float32, options["device"])
    _fill(text, text_names(text.state_dict()), path, torch.float32, options["device"])
    prediction_type = prediction_type or _stated_prediction(header, sidecar)
    if prediction_type is None:
        prediction_type = _probe_prediction(unet) if found.generation == 2 else "epsilon"
    return DiffusersModel(
        unet,
        vae,
        text,
        clip_tokenizer("<|endoftext|>" if found.generation == 1 else "!"),
        alphas_cumprod=scaled_linear_alphas(zero_terminal_snr="ztsnr" in header.shapes),
        prediction_type=prediction_type,
        name=path.stem,
        **options,
    )


def _fill(
    module: nn.Module,
    names: Mapping[str, str | tuple[str, int | None]],
    path: Path,
    dtype: torch.dtype,
    device: torch.device,
) -> None:
    """Replace the weights of a module made on the meta device by those in the file, converted one at a time.

    So there is never more in memory than the finished module and one tensor.
    """
    from safetensors import safe_open

    weights: dict[str, Tensor] = {}
    with safe_open(str(path), framework="pt", device="cpu") as file:
        available = set(file.keys())
        for name, empty in module.state_dict().items():
            if name.endswith("position_ids"):  # a constant that older transformers save and newer ones do not
                weights[name] = torch.arange(empty.shape[-1], device=device)[None]
                continue
            found = names[name]
            original, third = (found, None) if isinstance(found, str) else found
            if original not in available:  # some early checkpoints leave `text_model` out
                original = original.replace("transformer.text_model.", "transformer.")
            if original not in available:
                msg = f"{path.name} lacks the weight {original}; download the checkpoint again."
                raise ModelError(msg)
            tensor = file.get_tensor(original)
            if third is not None:
                tensor = tensor.chunk(3)[third]
            # One layout's matrices are the other's 1x1 convolutions.
            shape, expected = ([side for side in t.shape if side != 1] for t in (tensor, empty))
            if shape != expected or not tensor.is_floating_point():
                kind = str(tensor.dtype).removeprefix("torch.")
                msg = f"{path.name} has a {kind} weight {original} of shape {tuple(tensor.shape)}; {SUPPORTED}."
                raise ModelError(msg)
            # A copy in any case: the file is mapped into memory and may be replaced during the model's life.
            weights[name] = tensor.reshape(empty.shape).to(device, dtype, copy=True)
    module.load_state_dict(weights, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and name.endswith("position_ids"):
            owner = module.get_submodule(name.rpartition(".")[0])
            owner.position_ids = torch.arange(buffer.shape[-1], device=device)[None]


def _stated_prediction(header: Header, sidecar: dict[str, Any]) -> PredictionType | None:
    """What the yaml beside a checkpoint, its metadata or a marker weight say that the U-Net predicts."""
    said = sidecar.get("parameterization") or header.metadata.get("modelspec.prediction_type", "")
    if str(said).lower() in ("v", "v_prediction", "v_pred") or "v_pred" in header.shapes:
        return "v_prediction"
    return "epsilon" if str(said).lower() in ("eps", "epsilon") else None


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


def _sidecar(path: Path) -> dict[str, Any]:
    """`model.params` of `name.yaml` beside `name.safetensors`, a convention of A1111; {} without one."""
    sidecar = path.with_suffix(".yaml")
    if not sidecar.is_file():
        return {}
    import yaml

    try:
        content = yaml.safe_load(sidecar.read_text(encoding="utf-8"))
        found = dict(content["model"]["params"])
        found["scale_factor"] = float(found.get("scale_factor", LATENT_SCALE))
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        msg = f"{sidecar.name} beside the checkpoint is not a model description; correct or remove it."
        raise ModelError(msg) from error
    if not 0 < found["scale_factor"] < math.inf:
        msg = f"{sidecar.name} beside the checkpoint gives a scale_factor that is not above 0; correct it."
        raise ModelError(msg)
    return found
