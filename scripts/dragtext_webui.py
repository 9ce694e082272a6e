"""The WebUI's entry: mounts the folders `sdk` and `extension` as `dragtext.sdk` and `dragtext.extension`.

Top-level names are shared by all extensions of a WebUI, and "sdk" would be anybody's. What an earlier run of this file
left is dropped first, so that "Reload UI" after an update runs the new code. A second copy of the extension would take
the first one's modules, tab and routes away, so it stays out. Nothing that fails here may disturb the WebUI's start.
"""

import logging
import sys
import types
from pathlib import Path

log = logging.getLogger("dragtext")


def mount(folder: Path) -> types.ModuleType:
    """The package `dragtext` over `folder`, in place of what was there."""
    for name in [name for name in sys.modules if name == "dragtext" or name.startswith("dragtext.")]:
        del sys.modules[name]
    package = types.ModuleType("dragtext")
    package.__path__ = [str(folder)]
    sys.modules["dragtext"] = package
    return package


def start(folder: Path) -> "type | None":
    """Register the extension in `folder`, unless another copy of it is running. Returns its script for generations."""
    running = getattr(sys.modules.get("dragtext"), "webui_folder", folder)
    if running != folder:
        log.error("DragText is installed twice, in %s and in %s; remove one of the folders.", running, folder)
        return None
    package = mount(folder)
    from dragtext.extension.register import register

    script = register()
    package.webui_folder = folder
    from modules import script_callbacks

    script_callbacks.on_script_unloaded(lambda: package.__dict__.pop("webui_folder", None))
    return script


try:
    # Hosts look through this file for classes of theirs.
    Repeat = start(Path(__file__).absolute().parent.parent)
except Exception as problem:
    reason = (str(problem).splitlines() or [""])[0]
    log.error("DragText could not start (%s: %s); the rest of the WebUI works.", type(problem).__name__, reason)  # noqa: TRY400
    log.debug("Where it failed", exc_info=True)
