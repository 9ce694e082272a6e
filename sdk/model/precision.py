"""What computing in half precision needs, and what to say where numbers are none."""

from __future__ import annotations

import torch

from ..errors import ModelError
from .base import DiffusionModel


def loss_scale(model: DiffusionModel) -> float:
    """What a loss is multiplied with before its backward pass, and its gradients divided by after it.

    A mean-reduced loss underflows in float16 (4 % error unscaled, 0.3 % at 1000 in a simulation).
    """
    return 1024.0 if model.dtype == torch.float16 else 1.0


def not_finite(model: DiffusionModel, what: str, otherwise: str = "") -> ModelError:
    """The error for `what` ("The model ..."), a subject whose numbers are NaN or infinite.

    otherwise: another way out, as an imperative.
    """
    if model.dtype == torch.float32:
        advice = f"the checkpoint {model.name} is damaged or badly merged, so use another"
    else:
        advice = "compute in float32 (--dtype float32; --no-half in a WebUI)"
    return ModelError(f"{what} gives NaN: {advice}{otherwise and f', or {otherwise}'}.")
