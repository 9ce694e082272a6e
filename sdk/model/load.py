"""Load a model from disk: the embedded one, a diffusers folder, or a single file. Never from the network."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import DragTextError, InputError, ModelError, NotEnoughMemoryError
from .base import DiffusionModel, PredictionType
from .checkpoint import SUPPORTED, Header, anatomy, read_header, refuse_pickle
from .keys import clip_names, open_clip_names, unet_names, vae_names
from .vocabulary import clip_tokenizer

if TYPE_CHECKING:
    from .diffusers import DiffusersModel

EMBEDDED = Path(__file__).parent / "embedded"
DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "float16": torch.float16,
    "fp16": torch.float16,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
}
PREDICTION_TYPES = ("epsilon", "v_prediction")


def load_model(
    source: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    attention: str = "sdpa",
    prediction_type: PredictionType | None = None,
) -> DiffusionModel:
    """Load a Stable Diffusion 1.x or 2.x model.

    source: a diffusers folder, or a single `.safetensors` file in the original layout; None is the small
        model that comes with this package.
    device: "cpu", "cuda", "cuda:1", "mps", ...; None takes CUDA if there is one, otherwise the CPU.
    dtype: precision of the U-Net: "float32", "float16" or "bfloat16" (or torch's own); None means float16 on
        CUDA and float32 elsewhere.
    attention: "sdpa" (torch's own) or "xformers".
    prediction_type: overrides what the files say. The weights of a single file cannot tell; without this
        argument the order is: `<checkpoint>.yaml` beside it, a mark inside the file (metadata
        `modelspec.prediction_type`, or a tensor `v_pred`), then epsilon for 1.x and a probe for 2.x.

    Raises InputError for arguments and paths that cannot be used, ModelError for files that cannot.
    """
    device = _device(device)
    dtype = _dtype(dtype, device)
    if prediction_type not in (None, *PREDICTION_TYPES):
        msg = f"`prediction_type` is {prediction_type!r}, but must be one of {', '.join(PREDICTION_TYPES)}."
        raise InputError(msg)
    if attention not in ("sdpa", "xformers"):
        msg = f"`attention` is {attention!r}, but must be 'sdpa' or 'xformers'."
        raise InputError(msg)
    path = EMBEDDED if source is None else Path(source).expanduser()
    if not path.exists():
        msg = f"There is no model at {path}."
        raise InputError(msg)
    options = {"device": device, "dtype": dtype, "attention": attention}
    load = _load_folder if path.is_dir() else _load_file
    try:
        return load(path, prediction_type, options)
    except DragTextError:
        raise
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        msg = f"There is not enough memory on {device} for {path.name}; use a smaller model or dtype."
        raise NotEnoughMemoryError(msg) from error
    except Exception as error:  # whatever a damaged file makes diffusers, transformers or safetensors raise
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        msg = f"{path.name} cannot be loaded ({reason}); download the model again."
        raise ModelError(msg) from error


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


def _dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        return torch.float16 if device.type == "cuda" else torch.float32
    found = DTYPES.get(dtype.lower()) if isinstance(dtype, str) else dtype
    if found not in DTYPES.values():
        msg = f"`dtype` is {dtype!r}, but must be float32, float16 or bfloat16."
        raise InputError(msg)
    if found == torch.float16 and device.type == "cpu":
        msg = "`dtype` float16 does not compute on a CPU everywhere; use float32 or bfloat16."
        raise InputError(msg)
    return found


def _load_folder(
    path: Path, prediction_type: PredictionType | None, options: dict[str, Any]
) -> DiffusersModel:
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
        module = cls.from_pretrained(
            str(path / part), local_files_only=True, use_safetensors=True, torch_dtype=dtype, variant=variant
        )
        for parameter in module.parameters():
            # Unchanged weights may lie in the mapped file, at odd addresses, where kernels round otherwise
            # than at aligned ones; and the file may be replaced during the model's life.
            parameter.data = parameter.data.clone()
        return module

    with _no_progress_bars():
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


def _load_file(path: Path, prediction_type: PredictionType | None, options: dict[str, Any]) -> DiffusersModel:
    header = read_header(path)
    found = anatomy(path, header)

    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from .diffusers import DiffusersModel, scaled_linear_alphas

    sidecar = _sidecar(path)
    if scale := sidecar.get("scale_factor"):
        found.vae["scaling_factor"] = float(scale)
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
            original, third = names[name] if isinstance(names[name], tuple) else (names[name], None)
            if original not in available:  # some early checkpoints leave `text_model` out
                original = original.replace("transformer.text_model.", "transformer.")
            if original not in available:
                msg = f"{path.name} lacks the weight {original}; download the checkpoint again."
                raise ModelError(msg)
            tensor = file.get_tensor(original)
            if third is not None:
                tensor = tensor.chunk(3)[third]
            if tensor.numel() != empty.numel():
                msg = f"{path.name} has a weight {original} of shape {tuple(tensor.shape)}; {SUPPORTED}."
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
def _probe_prediction(unet: nn.Module) -> PredictionType:
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
        return dict(content["model"]["params"])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        msg = f"{sidecar.name} beside the checkpoint is not a model description; correct or remove it."
        raise ModelError(msg) from error


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
def _no_progress_bars() -> Iterator[None]:
    """transformers draws a bar on stderr even for a folder on disk; its setting is put back afterwards."""
    from transformers.utils import logging as settings

    shown = settings.is_progress_bar_enabled()
    settings.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            settings.enable_progress_bar()


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
