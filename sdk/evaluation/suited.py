"""Settings of the loops that suit the demonstration model, whose features and latents are not Stable Diffusion's.

What it does best, a warped start, travels with the model itself (`dragtext.json` in its folder); these serve whoever
asks for a loop, and the comparisons.
"""

from __future__ import annotations

from typing import Any

from ..settings import Settings, make_settings

_LOOPS: dict[str, dict[str, Any]] = {
    "gooddrag": {"tracks_per_level": 4},
    "dragdiffusion": {"lr": 0.08, "steps": 60},
    "freedrag": {"lr": 0.08, "steps": 60, "expected_loss": 4.0},
    "dragnoise": {"lr": 0.1, "steps": 60},
}
# On top of these where a whole figure moves: a window that covers most of it takes it along in one piece. Where things
# on one figure move differently, as parts do, such windows would be at odds.
_WHOLE: dict[str, dict[str, Any]] = {
    "gooddrag": {"lr": 0.05, "feature_block": 4, "supervision_radius": 12, "displacement": 8},
    "dragdiffusion": {"feature_block": 4, "supervision_radius": 12},
    "freedrag": {"feature_block": 4, "supervision_radius": 12, "displacement": 8},
}
_COMMON: dict[str, Any] = {"inference_steps": 20, "identity": "none", "shared_attention": False}


def loop_settings(method: str, kind: str, **more: Any) -> Settings:
    """A loop's settings for one of the kinds of tasks (`tasks.KINDS`); `more` overrides them."""
    whole = _WHOLE.get(method, {}) if kind == "move" else {}
    return make_settings({"method": method, "start": "none", **_COMMON, **_LOOPS.get(method, {}), **whole, **more})
