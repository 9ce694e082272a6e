"""Which host this is, told by what it has loaded and not by versions: gradio's version says nothing about it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ...sdk.errors import ModelError
from ...sdk.model.base import DiffusionModel
from .a1111 import A1111
from .base import Host
from .forge import Forge
from .webui import WebUI


class UnknownBackend(WebUI):
    """A WebUI whose model we do not know how to use (Forge Classic, reForge): everything but edits works."""

    name = "a WebUI with an unknown backend"

    @contextmanager
    def lend(self, prompt: str, strength: float) -> Iterator[DiffusionModel]:
        raise ModelError("DragText does not support this WebUI's backend yet; use AUTOMATIC1111 1.10 or Forge.")
        yield  # pragma: no cover


def detect() -> Host:
    """The adapter for the WebUI that this process is."""
    if "backend.memory_management" in sys.modules:
        return Forge()
    if "ldm_patched" in sys.modules:
        return UnknownBackend()
    return A1111()
