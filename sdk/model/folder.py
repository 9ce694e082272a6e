"""Load a model from a folder in diffusers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ModelError
from .base import PredictionType
from .checkpoint import LATENT_SCALE, XL_LATENT_SCALE
from .component import matched, read_config, weight_files
from .keys import clip_names, second_clip_names
from .processor import suited_to_processor
from .quiet import quiet_libraries
from .weights import SUPPORTED, Weights, fill

if TYPE_CHECKING:
    from .diffusers import DiffusersModel


def load_folder(
    path: Path, name: str, prediction_type: PredictionType | None, vae: Path | None, options: dict[str, Any]
) -> DiffusersModel:
    """name: what the model is called. vae: file or folder whose autoencoder is used instead of the folder's."""
    _say_what_else(path)
    index = read_config(path / "model_index.json", path)
    kind = str(index.get("_class_name", ""))
    xl = kind.startswith("StableDiffusionXL")
    others = ("3", "Inpaint", "Upscale", "ControlNet", "Pix2Pix", "Adapter")
    if not kind.startswith("StableDiffusion") or any(word in kind for word in others):
        raise ModelError(f"{path.name} holds a {kind or 'model of unknown kind'}; {SUPPORTED}.")
    unet_config = read_config(path / "unet" / "config.json", path)
    if unet_config.get("in_channels") == 9:
        raise ModelError(f"{path.name} is an inpainting model; {SUPPORTED}.")
    if xl and not (path / "text_encoder" / "config.json").is_file() and (path / "text_encoder_2").is_dir():
        raise ModelError(f"{path.name} is an SDXL refiner; {SUPPORTED}.")
    schedule = read_config(path / "scheduler" / "scheduler_config.json", path)
    text_config = read_config(path / "text_encoder" / "config.json", path)
    vae_config = {}
    if vae is None or (path / "vae" / "config.json").is_file():
        vae_config = read_config(path / "vae" / "config.json", path)
    for part in ("tokenizer", *(["tokenizer_2"] if xl else [])):
        if not _has_tokenizer(path / part):
            msg = f"{path.name} lacks {part}/vocab.json or {part}/merges.txt; download the folder again."
            raise ModelError(msg)
    if schedule.get("num_train_timesteps", 1000) != 1000 or schedule.get("beta_schedule") != "scaled_linear":
        msg = f"{path.name} was not trained on Stable Diffusion's noise schedule; {SUPPORTED}."
        raise ModelError(msg)

    # Heads first: importing the libraries takes seconds.
    unet_weights = Weights.of(path.name, weight_files(path / "unet", path.name, "diffusion_pytorch_model"))
    text_weights = Weights.of(path.name, weight_files(path / "text_encoder", path.name, "model"))
    configs = {"unet": unet_config, "vae": vae_config, "text": text_config, "schedule": schedule}
    second = None
    if xl:
        configs["second"] = read_config(path / "text_encoder_2" / "config.json", path)
        second = Weights.of(path.name, weight_files(path / "text_encoder_2", path.name, "model"))
    with quiet_libraries():
        return _assemble(path, name, prediction_type, vae, configs, unet_weights, text_weights, second, options)


def _assemble(
    path: Path,
    name: str,
    prediction_type: PredictionType | None,
    vae: Path | None,
    configs: dict[str, dict[str, Any]],
    unet_weights: Weights,
    text_weights: Weights,
    second_weights: Weights | None,
    options: dict[str, Any],
) -> DiffusersModel:
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

    from .autoencoder import load_autoencoder, load_autoencoder_folder
    from .diffusers import DiffusersModel, scaled_linear_alphas

    device = options["device"]
    beside = torch.device("cpu") if options["rests"] else device
    usual = LATENT_SCALE if second_weights is None else XL_LATENT_SCALE
    vae_config, text_config, schedule = configs["vae"], configs["text"], configs["schedule"]
    with torch.device("meta"):
        unet: Any = UNet2DConditionModel.from_config(configs["unet"])
        text = CLIPTextModel(CLIPTextConfig.from_dict(text_config.get("text_config") or text_config))
    options = {**options, "dtype": options["dtype"] or suited_to_processor(unet)}
    samples = [fill(unet, {key: key for key in unet.state_dict()}, unet_weights, options["dtype"], device)]
    if vae is None:
        autoencoder, values = load_autoencoder_folder(path / "vae", path.name, vae_config, beside)
    else:
        autoencoder, values = load_autoencoder(vae, vae_config.get("scaling_factor") or usual, beside)
    samples.append(values)
    # transformers 5 writes the names without the leading `text_model.` that older ones have.
    names = matched(text.state_dict(), text_weights.shapes, clip_names)
    samples.append(fill(text, names, text_weights, torch.float32, beside))
    second = tokenizer = None
    if second_weights is not None:
        with torch.device("meta"):
            second = CLIPTextModelWithProjection(CLIPTextConfig.from_dict(configs["second"]))
        names = matched(second.state_dict(), second_weights.shapes, second_clip_names)
        samples.append(fill(second, names, second_weights, torch.float32, beside))
        tokenizer = CLIPTokenizer.from_pretrained(str(path / "tokenizer_2"), local_files_only=True)
    return DiffusersModel(
        unet,
        autoencoder,
        text,
        CLIPTokenizer.from_pretrained(str(path / "tokenizer"), local_files_only=True),
        alphas_cumprod=scaled_linear_alphas(
            schedule.get("beta_start", 0.00085),
            schedule.get("beta_end", 0.012),
            zero_terminal_snr=bool(schedule.get("rescale_betas_zero_snr")),
        ),
        prediction_type=prediction_type or schedule.get("prediction_type", "epsilon"),
        name=name,
        samples=samples,
        text_encoder_2=second,
        tokenizer_2=tokenizer,
        **options,
    )


def _say_what_else(path: Path) -> None:
    """Raise ModelError for folders that people give instead of a model's."""
    if (path / "model_index.json").is_file():
        return
    if (path / "config.json").is_file() and (path.parent / "model_index.json").is_file():
        raise ModelError(f"{path.name} is one part of a model; give the folder above it, {path.parent.name}.")
    if (path / "config.json").is_file():
        config = read_config(path / "config.json", path)
        kind = config.get("_class_name") or config.get("model_type") or "part of a model"
        way_out = "give it as --vae (`vae=`) beside a model" if kind == "AutoencoderKL" else "give a whole model"
        raise ModelError(f"{path.name} holds a single network ({kind}); {way_out}.")
    if files := sorted(file.name for file in path.glob("*") if file.suffix.lower() == ".safetensors"):
        raise ModelError(f"{path.name} is a folder of checkpoints; give one of its files, for example {files[0]}.")


def _has_tokenizer(folder: Path) -> bool:
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return pair or (folder / "tokenizer.json").is_file()
