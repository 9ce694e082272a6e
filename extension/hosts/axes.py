"""X/Y/Z plots over a drag: axes for the script that repeats one inside a generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...sdk.errors import InputError
from ...sdk.settings import METHODS
from .repeat import AXIS, TITLE, V

PLOT = "xyz_grid.py"
LABELS = {
    "method": "DragText method",
    "text_weight": "DragText text weight",
    "strength": "DragText strength",
    "guidance": "DragText guidance",
    V: "DragText v",
}


def add_axes() -> None:
    """Add ours to the host's plot script, which knows its axes by a list; nothing where it is not there."""
    from modules import scripts

    for data in list(scripts.scripts_data):
        plot = getattr(data, "module", None)
        options = getattr(plot, "axis_options", None)
        if plot is None or options is None or not str(getattr(data, "path", "")).endswith(PLOT):
            continue
        labels = {option.label for option in options}
        for name, label in LABELS.items():
            if label in labels:
                continue
            kind: type = str if name == "method" else float
            more: dict[str, Any] = {"choices": lambda: list(METHODS)} if name == "method" else {}
            # Another v is a rendering and no new drag, so it changes first.
            cost = 0.0 if name == V else 0.6
            options.append(plot.AxisOptionImg2Img(label, kind, _set(name), confirm=_switched_on, cost=cost, **more))


def _set(name: str) -> Callable[[Any, Any, Any], None]:
    def apply(p: Any, value: Any, _values: Any) -> None:
        setattr(p, AXIS + name, value)

    return apply


def _switched_on(p: Any, _values: Any) -> None:
    """A plot over a drag that does not take place would show one picture many times."""
    for script in getattr(p.scripts, "alwayson_scripts", ()):
        if script.title() == TITLE and p.script_args[script.args_from]:
            return
    raise InputError(f"This axis belongs to a drag; switch on '{TITLE}' in img2img.")
