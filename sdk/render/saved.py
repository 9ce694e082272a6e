"""Saved edits: everything but the model's weights in one .safetensors file, from which `open_result` renders again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from ..model.base import Conditioning, DiffusionModel
from ..picture.composing import Kept
from ..picture.files import check_writable, write_atomically
from ..picture.frame import Frame
from ..request import Request
from ..settings import as_dict, make_settings
from .rendering import Rendering

FORMAT = "dragtext-state-1"


def save_state(rendering: Rendering, request: Request, path: str | Path) -> Path:
    """Write everything but the model's weights into one .safetensors file, atomically."""
    from safetensors.torch import save_file

    path = check_state(path)
    model = rendering.lent_model
    tensors = {
        "latent_before": rendering.latent_before,
        "latent_after": rendering.latent_after,
        "text_before": rendering.text_before,
        "text_after": rendering.text_after,
        "original": torch.from_numpy(rendering.original.copy()),
    }
    if rendering.bottleneck is not None:
        tensors["bottleneck"] = rendering.bottleneck
    for name in ("alpha", "mask"):
        if getattr(rendering, name) is not None:
            tensors[name] = torch.from_numpy(getattr(rendering, name).astype(np.uint8))
    if rendering.profile is not None:
        tensors["profile"] = torch.frombuffer(bytearray(rendering.profile), dtype=torch.uint8)
    if rendering.kept is not None:
        tensors["kept.picture"] = torch.from_numpy(rendering.kept.picture)
        tensors["kept.painted"] = torch.from_numpy(rendering.kept.painted)
    for name, value in rendering.fixed.items():
        tensors[f"fixed.{name}"] = value
    if rendering.against is not None:
        tensors["against"] = rendering.against.tokens
        for name, value in rendering.against.fixed.items():
            tensors[f"against.{name}"] = value
    for place, (down, up) in rendering.identity.items():
        tensors[f"identity.{place}.down"], tensors[f"identity.{place}.up"] = down, up
    metadata = {
        "format": FORMAT,
        "request": request.to_json(),
        "settings": json.dumps(as_dict(rendering.settings)),
        "level": str(rendering.level),
        "frame": json.dumps(vars(rendering.frame)),
        "model": model.name,
        "fingerprint": model.fingerprint,
    }
    # Copies: DragNoise's two latents are one tensor, and safetensors stores no shared memory.
    contiguous = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
    return write_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata=metadata))


@dataclass(frozen=True)
class SavedResult:
    """A reopened edit: its request, and its rendering with `at` and `sweep`."""

    request: Request
    rendering: Rendering

    def at(self, v: float, text: float | None = None) -> Image.Image:
        return self.rendering.at(v, text)

    def sweep(self, values: Sequence[float | tuple[float, float]]) -> list[Image.Image]:
        return self.rendering.sweep(values)


def open_result(path: str | Path, model: DiffusionModel | str | Path | None = None) -> SavedResult:
    """Reopen what `EditResult.save_state` wrote.

    model: the model it was made with, loaded or as a path for `load_model`; None is the embedded model. Raises
    InputError for a file of another kind or another model.
    """
    from safetensors import SafetensorError, safe_open

    from ..model.load import load_model

    path = Path(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise InputError(f"{path.name} is not a saved edit; give a file that --save-state wrote.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except OSError as error:
        raise InputError(f"The saved edit {path} cannot be read ({error.strerror or error}).") from None
    except SafetensorError as error:
        raise InputError(f"{path.name} is damaged ({error}); save the edit again.") from None
    if not isinstance(model, DiffusionModel):
        model = load_model(model)
    if model.fingerprint != metadata.get("fingerprint"):
        raise InputError(
            f"{path.name} was made with the model {metadata.get('model')}, not with these weights of {model.name}; "
            "give that model, with the same vae."
        )
    try:
        frame = Frame(**{name: tuple(value) for name, value in json.loads(metadata["frame"]).items()})
        places = [name[len("identity.") : -len(".down")] for name in tensors if name.endswith(".down")]
        identity = {p: (tensors[f"identity.{p}.down"], tensors[f"identity.{p}.up"]) for p in places}
        alpha, mask = (tensors[name].numpy() if name in tensors else None for name in ("alpha", "mask"))
        kept = None
        if "kept.picture" in tensors:
            kept = Kept(tensors["kept.picture"].numpy(), tensors["kept.painted"].numpy())
        against = None
        if "against" in tensors:
            against = Conditioning(tensors["against"], fixed=_under("against.", tensors))
        rendering = Rendering(
            model=model,
            settings=make_settings(json.loads(metadata["settings"])).resolve(),
            frame=frame,
            level=int(metadata["level"]),
            latent_before=tensors["latent_before"],
            latent_after=tensors["latent_after"],
            bottleneck=tensors.get("bottleneck"),
            text_before=tensors["text_before"],
            text_after=tensors["text_after"],
            identity=identity,
            original=tensors["original"].numpy(),
            alpha=alpha,
            mask=mask,
            profile=tensors["profile"].numpy().tobytes() if "profile" in tensors else None,
            kept=kept,
            fixed=_under("fixed.", tensors),
            against=against,
        )
        return SavedResult(Request.from_json(metadata["request"]), rendering)
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path.name} is damaged ({error}); save the edit again.") from None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, by what is left of the names."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def check_state(path: str | Path) -> Path:
    """Make sure, before any work, that a saved edit can be written to `path`."""
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InputError(f"The saved edit {path.name} must end in .safetensors.")
    check_writable(path)
    return path
