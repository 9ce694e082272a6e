"""The settings' components, made from the list of settings, and their values in both directions."""

from __future__ import annotations

import logging
from typing import Any

from ..sdk.errors import DragTextError
from ..sdk.settings import SettingInfo, Settings, make_settings
from .options import parse_settings
from .queue import Jobs

log = logging.getLogger("dragtext")

BY_METHOD = "by method"  # a switch whose default depends on the method
BY_MODEL = "recommended"  # a method that comes with the model, or else the usual one
BASIC = ("method", "text", "steps", "lr", "lora_steps", "crop")


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

    made: dict[str, Any] = {}
    with gr.Accordion("Settings", open=True):
        for info in settings:
            if info.name in BASIC:
                made[info.name] = _field(info, beginning[info.name])
    with gr.Accordion("More settings", open=False):
        for info in settings:
            if info.name not in BASIC:
                made[info.name] = _field(info, beginning[info.name])
    return [made[info.name] for info in settings]


def _field(info: SettingInfo, value: Any) -> Any:
    import gradio as gr

    label = f"DragText {info.label.lower()}"  # labels of a host's page must differ from each other
    common = {"label": label, "elem_id": f"dragtext_setting_{info.name}"}
    text = f"{info.description} [{info.default_text}]"
    if info.kind == "choice":
        first = [] if info.default is not None and info.name != "method" else [shown_value(info, None)]
        return gr.Dropdown([*first, *info.choices], value=shown_value(info, value), info=text, **common)
    if info.kind == "bool" and info.default is None:
        return gr.Dropdown([BY_METHOD, "on", "off"], value=shown_value(info, value), info=text, **common)
    if info.kind == "bool":
        return gr.Checkbox(value=value, info=text, **common)
    # gradio's number fields send 0 when they are empty, and empty has a meaning here.
    return gr.Textbox(value=shown_value(info, value), info=info.description, placeholder=info.default_text, **common)


def shown_value(info: SettingInfo, value: Any) -> Any:
    """A setting's value as its component has it."""
    if info.kind == "bool" and info.default is None:
        return BY_METHOD if value is None else ("on" if value else "off")
    if info.kind == "choice" and value is None:
        return BY_MODEL if info.name == "method" else BY_METHOD
    if info.kind in ("int", "float"):
        return "" if value is None or value == info.default else f"{value}"
    return value


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
