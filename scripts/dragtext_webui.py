"""The WebUI's entry: mounts the folders `sdk` and `extension` as `dragtext.sdk` and `dragtext.extension`.

Top-level names are shared by all extensions of a WebUI, and "sdk" would be anybody's. What an earlier run of this file
left is dropped first, so that "Reload UI" after an update runs the new code.
"""

import sys
import types
from pathlib import Path

for name in [name for name in sys.modules if name == "dragtext" or name.startswith("dragtext.")]:
    del sys.modules[name]
package = types.ModuleType("dragtext")
package.__path__ = [str(Path(__file__).resolve().parent.parent)]
sys.modules["dragtext"] = package

from dragtext.extension.register import register  # noqa: E402

register()
