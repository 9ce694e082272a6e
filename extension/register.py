"""What a WebUI calls: settings page, tab, API routes, and the end of it all when the page is reloaded."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from typing import Any

from .hosts.detect import UnsupportedHostError, detect
from .options import OPTIONS, PREFIX, SECTION, Option
from .queue import Jobs

log = logging.getLogger("dragtext")

TAB = ("DragText", "dragtext")

# The button does what the one in the tab does, since a settings page has no handlers of its own.
CLEAR_CACHE = (
    '<button class="lg secondary gradio-button" '
    "onclick=\"gradioApp().querySelector('#dragtext_clear_cache').click()\">Clear DragText's cache</button>"
)


def register() -> type | None:
    """Hang the extension into the WebUI. Nothing is loaded or opened before the user or a script asks for it.

    Returns the script that repeats a drag inside a generation, for the host to find; None where there is none.
    """
    from modules import script_callbacks

    try:
        jobs = Jobs(detect())
    except UnsupportedHostError as error:
        reason = str(error)
        log.warning(reason)
        script_callbacks.on_ui_tabs(lambda: [(_notice(reason), *TAB)])
        return None

    def on_ui_tabs() -> list[tuple[Any, str, str]]:
        try:
            from .layout import build

            return [(build(jobs), *TAB)]
        except Exception as error:
            return [(_notice(_failure("page", error)), *TAB)]

    def on_app_started(_page: Any, app: Any) -> None:
        from .routes import add_routes

        add_routes(app, jobs)

    script_callbacks.on_ui_settings(_attempt("settings", add_settings))
    script_callbacks.on_ui_tabs(on_ui_tabs)
    script_callbacks.on_app_started(_attempt("API", on_app_started))
    script_callbacks.on_script_unloaded(jobs.close)
    try:
        return _add_script(jobs)
    except Exception as error:
        _failure("script", error)
        return None


def _add_script(jobs: Jobs) -> type:
    from modules import script_callbacks

    from .hosts.axes import add_axes
    from .hosts.repeat import add_records, make_script

    script = make_script(jobs)
    script_callbacks.on_before_ui(_attempt("X/Y/Z axes", add_axes))
    script_callbacks.on_before_image_saved(_attempt("PNG text", add_records))
    return script


def _attempt(part: str, step: Callable[..., None]) -> Callable[..., None]:
    """`step` as hosts call it: where it fails, in a WebUI whose classes changed, the others still run."""

    def attempted(*arguments: Any) -> None:
        try:
            step(*arguments)
        except Exception as error:
            _failure(part, error)

    return attempted


def _failure(part: str, error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0][:200]
    sentence = f"DragText's {part} could not be added to this WebUI ({type(error).__name__}: {reason})."
    log.error(sentence)
    log.debug("Where it failed", exc_info=error)
    return sentence


def _notice(sentence: str) -> Any:
    """A tab with nothing but a sentence."""
    import gradio as gr

    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML(f"<p>{html.escape(sentence)}</p>", elem_id="dragtext_notice")
    return blocks


def add_settings() -> None:
    """Our section of the host's settings page."""
    import gradio as gr
    from modules import shared
    from modules.options import OptionHTML, OptionInfo

    for option in OPTIONS:
        component, arguments = _component(gr, option)
        if option.name == "output_folder":  # as the host's own folders: not for everybody on a shared server
            arguments["visible"] = not getattr(shared.cmd_opts, "hide_ui_dir_config", False)
        info = OptionInfo(option.default, option.label, component, arguments, section=SECTION)
        shared.opts.add_option(PREFIX + option.name, info.info(option.info) if option.info else info)
    button = OptionHTML(CLEAR_CACHE)
    button.section = SECTION
    shared.opts.add_option(PREFIX + "clear_cache", button)


def _component(gr: Any, option: Option) -> tuple[Any, dict[str, Any]]:
    if isinstance(option.default, bool):
        return gr.Checkbox, {}
    if option.most is None:
        return gr.Textbox, {}
    return gr.Slider, {"minimum": option.least, "maximum": option.most, "step": 1}
