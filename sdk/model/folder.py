"""Load a model from a folder in diffusers' layout."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..errors import ModelError
from .base import PredictionType
from .checkpoint import SUPPORTED, read_header, refuse_pickle

if TYPE_CHECKING:
    from .diffusers import DiffusersModel


def load_folder(path: Path, prediction_type: PredictionType | None, options: dict[str, Any]) -> DiffusersModel:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer

    from .diffusers import DiffusersModel, scaled_linear_alphas

    index = _read_json(path / "model_index.json", path)
    kind = str(index.get("_class_name", ""))
    others = ("XL", "3", "Inpaint", "Upscale", "ControlNet")
    if not kind.startswith("StableDiffusion") or any(word in kind for word in others):
        msg = f"{path.name} holds a {kind or 'model of unknown kind'}; {SUPPORTED}."
        raise ModelError(msg)
    unet_config = _read_json(path / "unet" / "config.json", path)
    if unet_config.get("in_channels") == 9:
        msg = f"{path.name} is an inpainting model; {SUPPORTED}."
        raise ModelError(msg)
    schedule = _read_json(path / "scheduler" / "scheduler_config.json", path)
    for part in ("vae", "text_encoder"):
        _read_json(path / part / "config.json", path)
    if not _has_tokenizer(path / "tokenizer"):
        msg = f"{path.name} lacks tokenizer/vocab.json or tokenizer/merges.txt; download the folder again."
        raise ModelError(msg)
    if schedule.get("num_train_timesteps", 1000) != 1000 or schedule.get("beta_schedule") != "scaled_linear":
        msg = f"{path.name} was not trained on Stable Diffusion's noise schedule; {SUPPORTED}."
        raise ModelError(msg)

    def component(cls: Any, part: str, dtype: torch.dtype) -> nn.Module:
        variant = _variant(path / part, path)
        module, report = cls.from_pretrained(
            str(path / part),
            local_files_only=True,
            use_safetensors=True,
            torch_dtype=dtype,
            variant=variant,
            output_loading_info=True,
        )
        # Both libraries fill what the files lack with random numbers, and go on.
        missing = [name for name in report["missing_keys"] if not name.endswith("position_ids")]
        if missing and part == "text_encoder":
            missing = _respell(module, path / part, variant)
        if missing:
            msg = f"{path.name} lacks the weight {min(missing)} of its {part}; download the folder again."
            raise ModelError(msg)
        for parameter in module.parameters():
            # Unchanged weights may lie in the mapped file, at odd addresses, where kernels round otherwise
            # than at aligned ones; and the file may be replaced during the model's life.
            parameter.data = parameter.data.clone()
        return module

    with _quiet():
        unet = component(UNet2DConditionModel, "unet", options["dtype"])
        vae = component(AutoencoderKL, "vae", torch.float32)
        text = component(CLIPTextModel, "text_encoder", torch.float32)
    return DiffusersModel(
        unet,
        vae,
        text,
        CLIPTokenizer.from_pretrained(str(path / "tokenizer"), local_files_only=True),
        alphas_cumprod=scaled_linear_alphas(
            schedule.get("beta_start", 0.00085),
            schedule.get("beta_end", 0.012),
            zero_terminal_snr=bool(schedule.get("rescale_betas_zero_snr")),
        ),
        prediction_type=prediction_type or schedule.get("prediction_type", "epsilon"),
        name=path.resolve().name,
        **options,
    )


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    shown = path.relative_to(folder).as_posix()
    if not path.is_file():
        msg = f"{folder.name} is no complete diffusers folder: {shown} is missing."
        raise ModelError(msg)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        msg = f"{folder.name} has a damaged {shown}; download the folder again."
        raise ModelError(msg) from error
    if not isinstance(content, dict):
        msg = f"{folder.name} has a damaged {shown}; download the folder again."
        raise ModelError(msg)
    return content


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no reports on stderr while loading: what matters is raised as one sentence.

    The settings of both libraries are put back afterwards.
    """
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = (diffusers.utils.logging, transformers.utils.logging)
    levels = [library.get_verbosity() for library in libraries]
    shown = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        for library in libraries:
            library.set_verbosity(logging.CRITICAL)
        yield
    finally:
        for library, level in zip(libraries, levels, strict=True):
            library.set_verbosity(level)
        if shown:
            transformers.utils.logging.enable_progress_bar()


def _has_tokenizer(folder: Path) -> bool:
    pair = (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file()
    return pair or (folder / "tokenizer.json").is_file()


def _variant(part: Path, folder: Path) -> str | None:
    """The name "fp16" if only half-precision weights are there, else None; checks the files' headers."""
    files = sorted(part.glob("*.safetensors"))
    if not files:
        pickles = sorted(part.glob("*.bin"))
        if pickles:
            refuse_pickle(pickles[0])
        msg = f"{folder.name} is no complete diffusers folder: {part.name} has no .safetensors weights."
        raise ModelError(msg)
    for file in files:
        read_header(file)
    return "fp16" if all(".fp16" in file.name for file in files) else None


def _respell(module: nn.Module, part: Path, variant: str | None) -> list[str]:
    """Fill a text encoder from files whose names have or lack the leading `text_model.`, whichever it wants.

    transformers 5 writes the names without; older ones cannot read them so. Returns what is missing all the same.
    """
    from safetensors.torch import load_file

    prefix = "text_model." if any(name.startswith("text_model.") for name in module.state_dict()) else ""
    weights: dict[str, torch.Tensor] = {}
    for file in sorted(part.glob("*.safetensors")):
        if variant is None or f".{variant}" in file.name:
            weights |= {prefix + name.removeprefix("text_model."): value for name, value in load_file(file).items()}
    missing = module.load_state_dict(weights, strict=False).missing_keys
    return [name for name in missing if not name.endswith("position_ids")]
