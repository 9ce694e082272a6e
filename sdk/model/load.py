"""Load a model from disk: the embedded one, a diffusers folder, or a single file. Never from the network."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import torch

from ..errors import DragTextError, InputError, ModelError, NotEnoughMemoryError
from .base import Attention, PredictionType
from .exclusive import plain_torch
from .folder import load_folder
from .hub import NAME, cache_folder, cached_model, is_cache_entry, model_name, snapshot
from .memory import release
from .recommended import Recommended, read_recommended
from .single_file import load_file
from .weights import PICKLE_SUFFIXES

if TYPE_CHECKING:
    from .diffusers import DiffusersModel

log = logging.getLogger("dragtext")

EMBEDDED = Path(__file__).parent / "embedded"
DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "float16": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
AUTO = "auto"
PREDICTION_TYPES = get_args(PredictionType)


def load_model(
    source: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str = "sdpa",
    prediction_type: PredictionType | None = None,
    vae: str | Path | None = None,
) -> DiffusersModel:
    """Load a Stable Diffusion 1.x, 2.x or SDXL model.

    source: a diffusers folder, or a single `.safetensors` file in the original layout or with diffusers' names; a name
        on the Hugging Face hub ("owner/model") or a folder of the hub's cache, if it was downloaded before; None is
        the small model that comes with this package.
    device: "cpu", "cuda", "cuda:1", "mps", ...; None takes CUDA if there is one, otherwise the CPU.
    dtype: precision of the U-Net: "float32", "float16" or "bfloat16" (or torch's own); None and "auto" mean float16 on
        CUDA, on the CPU bfloat16 where this processor computes a U-Net of this size clearly faster in it (measured
        once, and kept in the cache), and float32 elsewhere.
    attention: "sdpa" (torch's own) or "xformers".
    prediction_type: overrides what the files say. The weights of a single file cannot tell; without this
        argument the order is: `<checkpoint>.yaml` beside it, a mark inside the file (metadata
        `modelspec.prediction_type`, or a tensor `v_pred`), then epsilon for 1.x and SDXL and a probe for 2.x.
    vae: another autoencoder, used instead of the model's: a single file, the folder `vae` of a diffusers model or the
        model's folder, or a name on the hub. Needed for a checkpoint that has none.

    Raises InputError for arguments and paths that cannot be used, ModelError for files that cannot.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    if prediction_type not in (None, *PREDICTION_TYPES):
        msg = f"`prediction_type` is {prediction_type!r}, but must be one of {', '.join(PREDICTION_TYPES)}."
        raise InputError(msg)
    if attention not in get_args(Attention):
        msg = f"`attention` is {attention!r}, but must be 'sdpa' or 'xformers'."
        raise InputError(msg)
    path, name = _find(EMBEDDED if source is None else source, "model")
    separate = None if vae is None else _find(vae, "vae")[0]
    options = {"device": device, "dtype": dtype, "attention": attention, "rests": False}
    load = load_folder if path.is_dir() else load_file
    try:
        with plain_torch(device):
            try:
                model = load(path, name, prediction_type, separate, options)
            except torch.cuda.OutOfMemoryError:
                model = None
            if model is None:  # now that what was loaded is gone: SDXL's text encoders are as large as half its U-Net
                release(device)
                log.warning(
                    "%s does not fit on %s, so its text encoders and autoencoder wait in the machine's memory.",
                    name,
                    device,
                )
                model = load(path, name, prediction_type, separate, {**options, "rests": True})
            model.recommended = read_recommended(path)
            return model
    except DragTextError:
        raise
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        msg = f"There is not enough memory on {device} for {path.name}; use a smaller model or dtype."
        raise NotEnoughMemoryError(msg) from error
    except Exception as error:  # whatever a damaged file makes diffusers, transformers or safetensors raise
        _say_if_no_temporary_folder()
        reason = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")
        msg = f"{path.name} cannot be loaded ({reason}); download the model again."
        raise ModelError(msg) from error


def recommended_of(source: str | Path | None = None) -> Recommended:
    """The settings that come with a model, without loading it; source and errors as for `load_model`."""
    return read_recommended(_find(EMBEDDED if source is None else source, "model")[0])


def _find(source: str | Path, what: str) -> tuple[Path, str]:
    """Where a model or an autoencoder is on the disk, and what to call it."""
    try:
        path = Path(source).expanduser().absolute()  # absolute, so that "." has a name
        found = path.exists()
    except (OSError, TypeError, ValueError, RuntimeError) as error:
        msg = f"{str(source)[:80]!r} is not a path; give a diffusers folder or a .safetensors file."
        raise InputError(msg) from error
    if found and is_cache_entry(path):
        return snapshot(path), model_name(path)
    if found and path.parent.name == "snapshots":
        return path, model_name(path.parent.parent)
    if found:
        return path, path.resolve().name if path.is_dir() else path.stem
    text = str(source)
    if cached := cached_model(text):
        return cached, text.split("/")[-1]
    if NAME.match(text) and not path.parent.exists() and path.suffix not in (".safetensors", *PICKLE_SUFFIXES):
        msg = (
            f"There is no {what} at {text}, and the hub's cache in {cache_folder()} holds no model of that name; "
            f"download it first, for example with `hf download {text}`."
        )
        raise InputError(msg)
    msg = f"There is no {what} at {source}."
    raise InputError(msg)


def _say_if_no_temporary_folder() -> None:
    """torch asks for a folder for temporary files while diffusers is imported; its absence is no fault of the model."""
    try:
        tempfile.gettempdir()
    except OSError:
        msg = "No temporary folder can be written, and torch needs one; set TMPDIR to a folder that can."
        raise InputError(msg) from None


def _device(device: str | torch.device | None) -> torch.device:
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(device)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
        msg = f"`device` is {str(device)!r}, which is not available here; use 'cpu', 'cuda' or 'mps'."
        raise InputError(msg) from error
    if device.type == "meta":
        msg = "`device` 'meta' holds no weights; use 'cpu', 'cuda' or 'mps'."
        raise InputError(msg)
    return device


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype | None:
    """None on the CPU, where it depends on the U-Net as well."""
    if dtype in (None, AUTO):
        return {"cuda": torch.float16, "cpu": None}.get(device.type, torch.float32)
    found = DTYPES.get(dtype.lower()) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        msg = f"`dtype` is {dtype!r}, but must be auto, float32, float16 or bfloat16."
        raise InputError(msg)
    if found == torch.float16 and device.type == "cpu":
        msg = "`dtype` float16 does not compute on a CPU everywhere; use float32 or bfloat16."
        raise InputError(msg)
    return found
