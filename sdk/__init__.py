"""Drag editing on Stable Diffusion: `edit` for one call, `Editor` to drag the same image many times.

The names are loaded on first use, so that asking for help or a version does not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .editor import Editor, edit
    from .errors import (
        DragTextError,
        InputError,
        InterruptedEditError,
        ModelError,
        ModelInUseError,
        NotEnoughMemoryError,
    )
    from .model.base import DiffusionModel
    from .model.load import load_model
    from .render.saved import open_result
    from .request import Drag, Request
    from .result import EditResult, Progress, Step
    from .run import EditRun
    from .settings import Settings

_HOMES = {
    "DiffusionModel": "model.base",
    "Drag": "request",
    "DragTextError": "errors",
    "EditResult": "result",
    "EditRun": "run",
    "Editor": "editor",
    "InputError": "errors",
    "InterruptedEditError": "errors",
    "ModelError": "errors",
    "ModelInUseError": "errors",
    "NotEnoughMemoryError": "errors",
    "Progress": "result",
    "Request": "request",
    "Settings": "settings",
    "Step": "result",
    "edit": "editor",
    "load_model": "model.load",
    "open_result": "render.saved",
}

__all__ = [
    "DiffusionModel",
    "Drag",
    "DragTextError",
    "EditResult",
    "EditRun",
    "Editor",
    "InputError",
    "InterruptedEditError",
    "ModelError",
    "ModelInUseError",
    "NotEnoughMemoryError",
    "Progress",
    "Request",
    "Settings",
    "Step",
    "edit",
    "load_model",
    "open_result",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
