"""Which host this is, told by what the process has loaded and not by versions; nothing is imported to find out."""

from __future__ import annotations

import sys
from pathlib import Path

from ...sdk.errors import ModelError
from .a1111 import A1111
from .base import Host
from .forge import Forge

# What a WebUI has loaded before it runs any extension, and no other one has.
FORGE = {"backend.memory_management", "modules_forge.main_thread"}
CLASSIC = {"ldm_patched", "modules_forge"}
ORIGINAL = {"modules.sd_hijack", "modules.sd_unet", "modules.devices", "ldm"}

SUPPORTED = "use AUTOMATIC1111's WebUI, Forge or Forge Neo"


class UnsupportedHostError(ModelError):
    """This WebUI's models cannot be used."""


def detect() -> Host:
    """The adapter for the WebUI that this process is. Raises UnsupportedHostError, which names it where it is known."""
    loaded = sys.modules.keys()
    if _has_sdnext_launcher():
        raise UnsupportedHostError(f"DragText does not work in SD.Next, which runs diffusers pipelines; {SUPPORTED}.")
    if loaded >= FORGE:
        return Forge()
    if loaded >= CLASSIC:
        raise UnsupportedHostError(f"DragText does not work in Forge Classic and reForge; {SUPPORTED}.")
    if loaded >= ORIGINAL:
        return A1111()
    raise UnsupportedHostError(f"DragText does not know this WebUI; {SUPPORTED}.")


def _has_sdnext_launcher() -> bool:
    """SD.Next imports `installer` from its own folder; elsewhere that name is anybody's."""
    installer = getattr(sys.modules.get("installer"), "__file__", None)
    modules = getattr(sys.modules.get("modules.shared"), "__file__", None)
    if installer is None or modules is None:
        return False
    return Path(installer).parent == Path(modules).parent.parent
