"""The tab: its components, and which action each has. gradio 3 and 4 alike, with only what both have.

The page's scripts (`javascript/`) fill the canvas and what lies around it, and follow jobs over HTTP. gradio carries
what hosts bind to: the form, the result and its infotext. No event waits for a job.
"""

from __future__ import annotations

import html
import inspect
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ..sdk.settings import catalogue
from . import actions
from .actions import KEEP, Status
from .form import beginning_settings, open_values, setting_fields, settings_facts
from .queue import Jobs
from .report import version

STAGE = '<div id="dragtext_stage"></div><div id="dragtext_outcome"></div>'
_numbers = itertools.count()


def build(jobs: Jobs) -> gr.Blocks:
    """The tab's contents."""
    settings = catalogue()
    beginning = open_values(beginning_settings(jobs))

    with gr.Blocks(analytics_enabled=False) as blocks:
        with gr.Row(elem_id="dragtext_tab"):
            with gr.Column(elem_id="dragtext_main", scale=3):
                gr.HTML(STAGE, elem_id="dragtext_view")
            with gr.Column(elem_id="dragtext_side", scale=1):
                with gr.Row(elem_id="dragtext_buttons"):
                    drag = gr.Button("Drag", variant="primary", elem_id="dragtext_drag")
                    interrupt = gr.Button("Interrupt", variant="stop", elem_id="dragtext_interrupt")
                status = gr.HTML(status_html(Status("")), elem_id="dragtext_status")
                gr.HTML('<div id="dragtext_expected"></div>')
                prompt = gr.Textbox(label="What the picture shows", lines=2, elem_id="dragtext_prompt")
                if jobs.host.describers:
                    gr.HTML(f'<div id="dragtext_describe" data-ways="{" ".join(jobs.host.describers)}"></div>')
                gr.HTML(_facts(settings))
                fields = setting_fields(settings, beginning)
                with gr.Accordion("The result's infotext", open=False, elem_id="dragtext_infotext_box"):
                    text = gr.Textbox(
                        label="Infotext",
                        show_label=False,
                        lines=4,
                        max_lines=8,
                        info="Of the result. Use takes one that you paste: prompt, drags and settings.",
                        elem_id="dragtext_infotext",
                    )
                    use = gr.Button("Use", elem_id="dragtext_use")
                with gr.Row(elem_id="dragtext_foot"):
                    report = gr.Button("Copy a bug report", elem_id="dragtext_report")
                    clear_cache = gr.Button("Clear the cache", elem_id="dragtext_clear_cache")
                gr.HTML(f'<p id="dragtext_version">DragText {html.escape(version())}</p>')
        # What hosts bind to and what scripts and server tell each other. Hidden by style.css: an invisible component
        # would not be in the page at all.
        result = _image(label="Result", elem_id="dragtext_result", interactive=False, elem_classes=["dragtext_hidden"])
        page, problem, document, wanted, job = (
            gr.Textbox(label=f"DragText {name}", elem_id=f"dragtext_{name}", elem_classes=["dragtext_hidden"])
            for name in ("page", "problem", "document", "wanted", "job")
        )
        collect, fill, given = (
            gr.Button(name.capitalize(), elem_id=f"dragtext_{name}", elem_classes=["dragtext_hidden"])
            for name in ("collect", "fill", "given")
        )

        for component in [prompt, result, text, *fields, page, problem, document, wanted, job]:
            component.do_not_save_to_config = True  # A1111 would write our defaults into its ui-config.json

        submitted = _on(
            drag.click,
            lambda *values: actions.submit(jobs, *values[:4], values=values[4:]),
            [page, problem, document, prompt, *fields],
            [job, status],
            script="submit",
        )
        _on(submitted.then, None, [job], [], script="follow")
        _on(interrupt.click, lambda *values: actions.interrupt(jobs, *values), [page, job], [status], script="current")
        _on(collect.click, lambda *values: actions.collect(jobs, *values), [page, job], [result, text], script="shown")
        # The form's values as the scripts need them, and back.
        _on(given.click, None, [prompt, *fields], [], script="given")
        filled = _on(fill.click, actions.fill, [problem, wanted], [prompt, *fields, status], script="fill")
        _on(filled.then, None, [], [], script="filled")
        taken = _on(
            use.click,
            lambda *values: actions.take(jobs, *values),
            [page, problem, text],
            [document, prompt, *fields, status],
            script="use",
        )
        _on(taken.then, None, [document], [], script="taken")
        _on(clear_cache.click, lambda: actions.empty_cache(jobs), [], [status])
        _on(report.click, None, [], [], script="report")
    return blocks


def status_html(status: Status) -> str:
    """The line. Numbered: gradio redraws only what has changed, and the script writes there too."""
    mood = ' class="dragtext_bad"' if status.bad else ""
    return f'<p role="status" data-number="{next(_numbers)}"{mood}>{html.escape(status.text)}</p>'


def _facts(settings: Sequence[Any]) -> str:
    """The list of settings, where the script looks for it and puts what it makes of it."""
    told = html.escape(json.dumps(settings_facts(tuple(settings))))
    return f'<div id="dragtext_settings" data-settings="{told}"></div>'


def _on(
    event: Callable[..., Any],
    action: Callable[..., Any] | None,
    inputs: list[Any],
    outputs: list[Any],
    *,
    script: str = "",
) -> Any:
    """Hang an action on an event, past gradio's queue, which holds on to what its client has left.

    script: the function of the page's script that is asked for the inputs first.
    """
    more: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_name": False}
    if script:
        name = "js" if "js" in inspect.signature(event).parameters else "_js"
        count = len(inputs)
        ask = f"window.dragtext.{script}(given.slice(0, {count}))"
        more[name] = f"(...given) => window.dragtext ? {ask} : Array({count}).fill(null)"
    return event(action and _for_gradio(action), inputs, outputs, **more)


def _for_gradio(action: Callable[..., Any]) -> Callable[..., Any]:
    """The action with its values as gradio takes them."""

    def run(*given: Any) -> Any:
        outcome = action(*given)
        values: Sequence[Any] = outcome if isinstance(outcome, tuple) else (outcome,)
        shown = [gr.update() if value is KEEP else value for value in values]
        shown = [status_html(value) if isinstance(value, Status) else value for value in shown]
        return shown if len(shown) != 1 else shown[0]

    return run


def _image(**more: Any) -> Any:
    if "format" in inspect.signature(gr.Image).parameters:
        more["format"] = "png"  # gradio 4 would keep, show and hand out a lossy webp
    return gr.Image(type="pil", **more)
