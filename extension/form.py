"""The settings' components, made from the list of settings, and their values in both directions.

The page's script (`javascript/dragtext_settings.mjs`) adds sliders, plain words and a search, from the
same list.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import Any

from ..sdk.errors import DragTextError
from ..sdk.settings import LOOP_SETTINGS, SettingInfo, Settings, as_dict, catalogue, given_settings, make_settings
from .options import parse_settings
from .queue import Jobs

log = logging.getLogger("dragtext")

BY_METHOD = "by method"  # a switch whose default depends on the method
BY_MODEL = "recommended"  # a method that comes with the model, or else the usual one
BASIC = ("method", "text", "strength", "steps", "identity", "crop", "resolution", "seed")


def beginning_settings(jobs: Jobs) -> Settings:
    """What the tab begins with: the host's option, or the defaults where that is wrong."""
    try:
        return parse_settings(str(jobs.host.option("default_settings") or ""))
    except DragTextError as error:
        log.warning("The option with DragText's first settings is left aside: %s", error)
        return make_settings()


def setting_fields(settings: tuple[SettingInfo, ...], beginning: dict[str, Any]) -> list[Any]:
    """A component for each setting, in the settings' order; the less common ones folded away."""
    import gradio as gr

    by_name = {info.name: info for info in settings}
    made: dict[str, Any] = {}
    with gr.Column(elem_id="dragtext_basic"):
        for name in BASIC:
            made[name] = _field(by_name[name], beginning[name])
    with gr.Accordion("All settings", open=False, elem_id="dragtext_advanced"):
        for name, info in by_name.items():
            if name not in BASIC:
                made[name] = _field(info, beginning[name])
    return [made[name] for name in by_name]


def settings_facts(settings: tuple[SettingInfo, ...]) -> list[dict[str, Any]]:
    """The list of settings in JSON types, for the page's script."""
    return [
        {**asdict(info), "label": info.label, "basic": info.name in BASIC, "loop": info.name in LOOP_SETTINGS}
        for info in settings
    ]


def _field(info: SettingInfo, value: Any) -> Any:
    import gradio as gr

    common: dict[str, Any] = {
        "label": info.label,
        "info": info.description,
        "elem_id": f"dragtext_setting_{info.name}",
        "elem_classes": ["dragtext_setting"],
    }
    if info.kind == "choice":
        first = [] if info.default is not None and info.name != "method" else [shown_value(info, None)]
        return gr.Dropdown([*first, *info.choices], value=shown_value(info, value), **common)
    if info.kind == "bool" and info.default is None:
        return gr.Dropdown([BY_METHOD, "on", "off"], value=shown_value(info, value), **common)
    if info.kind == "bool":
        return gr.Checkbox(value=value, **common)
    # gradio's number fields send 0 when they are empty, and empty has a meaning here.
    return gr.Textbox(value=shown_value(info, value), placeholder=info.default_text, max_lines=1, **common)


def shown_value(info: SettingInfo, value: Any) -> Any:
    """A setting's value as its component has it."""
    if info.kind == "bool" and info.default is None:
        return BY_METHOD if value is None else ("on" if value else "off")
    if info.kind == "choice" and value is None:
        return BY_MODEL if info.name == "method" else BY_METHOD
    if info.kind in ("int", "float"):
        return "" if value is None or value == info.default else f"{value}"
    return value


def open_values(settings: Settings) -> dict[str, Any]:
    """A value per setting, None for a method that nobody chose: the model may bring one."""
    return {**as_dict(settings), "method": given_settings(settings).get("method")}


def shown_values(settings: Settings) -> list[Any]:
    """A value per component, in the settings' order."""
    values = open_values(settings)
    return [shown_value(info, values[info.name]) for info in catalogue()]


def form_values(settings: tuple[SettingInfo, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    """What of the components' values was chosen; empty, or as it is anyway, is not."""
    chosen: dict[str, Any] = {}
    for info, value in zip(settings, values):
        if value in (BY_METHOD, BY_MODEL) or (value == info.default and info.name != "method"):
            continue
        if info.kind == "bool" and info.default is None:
            value = {"on": True, "off": False}.get(value)
        elif isinstance(value, str):
            value = value.strip()
        if value not in (None, ""):
            chosen[info.name] = value
    return chosen
