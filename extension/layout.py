"""The tab: its components, and which action each button has. gradio 3 and 4 alike, with only what both have.

No event waits for a job. A button's event submits and returns; the page's script (`javascript/`) follows the job over
HTTP and, at its end, presses a hidden button whose event fills the components, so that hosts can bind to them.
"""

from __future__ import annotations

import html
import inspect
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from ..sdk.settings import as_dict, catalogue, given_settings
from . import actions
from .actions import KEEP, Status
from .form import beginning_settings, setting_fields
from .points import add_click, remove_click
from .queue import Jobs
from .report import version

HINT = "Click on the picture: first a handle, then its target, and so on. Or write a line each: 120,80 -> 180,80"
STATE = '<img id="dragtext_state_picture" alt="The edit so far, with handles in red and targets in blue" hidden>'
_numbers = itertools.count()


def build(jobs: Jobs) -> gr.Blocks:
    """The tab's contents."""
    settings = catalogue()
    chosen = beginning_settings(jobs)
    beginning = {**as_dict(chosen), "method": given_settings(chosen).get("method")}

    with gr.Blocks(analytics_enabled=False) as blocks:
        with gr.Row(elem_id="dragtext_tab"):
            with gr.Column():
                picture = _image(label="Picture to drag", elem_id="dragtext_picture", image_mode="RGBA")
                prompt = gr.Textbox(label="What the picture shows", lines=2, elem_id="dragtext_prompt")
                points = gr.Textbox(label="Drags", lines=4, info=HINT, elem_id="dragtext_points")
                with gr.Row():
                    undo_point = gr.Button("Remove last point", elem_id="dragtext_undo_point")
                    clear_points = gr.Button("Remove all points", elem_id="dragtext_clear_points")
                mask = _image(
                    label="Mask, of the same size: what is brighter than half may change (optional)",
                    elem_id="dragtext_mask",
                )
                fields = setting_fields(settings, beginning)
            with gr.Column():
                with gr.Row():
                    drag = gr.Button("Drag", variant="primary", elem_id="dragtext_drag")
                    interrupt = gr.Button("Interrupt", variant="stop", elem_id="dragtext_interrupt")
                    latest = gr.Button("Show latest", elem_id="dragtext_latest")
                status = gr.HTML(status_html(Status("Nothing is running.")), elem_id="dragtext_status")
                gr.HTML(STATE, elem_id="dragtext_state")
                result = _image(label="Result", elem_id="dragtext_result", interactive=False)
                v = gr.Slider(-1, 3, value=1, step=0.05, label="How much of the edit", elem_id="dragtext_v")
                with gr.Row():
                    render = gr.Button("Render", elem_id="dragtext_render")
                    onward = gr.Button("Drag the result", elem_id="dragtext_onward")
                    back = gr.Button("Picture before", elem_id="dragtext_back")
                text = gr.Textbox(
                    label="Infotext",
                    lines=3,
                    max_lines=6,
                    info="of the result. Use takes one of yours; with an empty box, what the picture (a PNG) carries",
                    elem_id="dragtext_infotext",
                )
                with gr.Row():
                    use = gr.Button("Use", elem_id="dragtext_use")
                    clear_cache = gr.Button("Clear the cache", elem_id="dragtext_clear_cache")
                    report = gr.Button("Copy a bug report", elem_id="dragtext_report")
                gr.HTML(f'<p id="dragtext_version">DragText {html.escape(version())}</p>')
        # What the page's script tells the server, and what the server tells it. Hidden by style.css: an invisible
        # component would not be in the page at all.
        page, problem, picture_id, mask_id, shown, job, previous = (
            gr.Textbox(label=f"DragText {name}", elem_id=f"dragtext_{name}", elem_classes=["dragtext_hidden"])
            for name in ("page", "problem", "picture_id", "mask_id", "shown", "job", "previous")
        )
        collect = gr.Button("Collect", elem_id="dragtext_collect", elem_classes=["dragtext_hidden"])

        told = [page, problem, picture_id, mask_id, shown, job, previous]
        for component in [picture, prompt, points, mask, result, v, text, *fields, *told]:
            component.do_not_save_to_config = True  # A1111 would write our defaults into its ui-config.json

        def follow(event: Any) -> None:
            _on(event.then, None, [job], [], script="follow")

        follow(
            _on(
                drag.click,
                lambda _picture, _mask, *given: actions.submit(jobs, *given[:6], values=given[6:]),
                [picture, mask, page, problem, picture_id, mask_id, prompt, points, *fields],
                [job, status],
                script="submit",
            )
        )
        follow(_on(latest.click, lambda *given: actions.latest(jobs, *given), [page], [job, status], script="latest"))
        follow(
            _on(
                render.click,
                lambda *given: actions.render(jobs, *given),
                [page, problem, shown, v],
                [job, status],
                script="render",
            )
        )
        _on(interrupt.click, lambda *given: actions.interrupt(jobs, *given), [page, job], [status], script="current")
        _on(
            collect.click,
            lambda *given: actions.collect(jobs, *given),
            [page, job],
            [result, text, status],
            script="current",
        )
        _on(
            onward.click,
            lambda *given: actions.go_on(jobs, *given),
            [page, shown],
            [picture, points, previous, status],
            script="shown",
        )
        _on(back.click, lambda *given: actions.go_back(jobs, *given), [previous], [picture, status])
        _on(
            use.click,
            lambda _picture, *given: actions.take(jobs, *given),
            [picture, page, problem, picture_id, text],
            [prompt, points, mask, v, *fields, status],
            script="use",
        )
        _on(clear_cache.click, lambda: actions.empty_cache(jobs), [], [status])
        _on(report.click, None, [], [], script="report")

        def click(lines: str, event: gr.SelectData) -> str:
            return add_click(lines, *(int(number) for number in event.index[:2]))

        _on(picture.select, click, [points], [points], plain=True)
        _on(undo_point.click, remove_click, [points], [points])
        _on(clear_points.click, lambda: "", [], [points])
    return blocks


def status_html(status: Status) -> str:
    """The line. Numbered: gradio redraws only what has changed, and the script writes there too."""
    mood = ' class="dragtext_bad"' if status.bad else ""
    return f'<p role="status" data-number="{next(_numbers)}"{mood}>{html.escape(status.text)}</p>'


def _on(
    event: Callable[..., Any],
    action: Callable[..., Any] | None,
    inputs: list[Any],
    outputs: list[Any],
    *,
    script: str = "",
    plain: bool = False,
) -> Any:
    """Hang an action on an event, past gradio's queue, which holds on to what its client has left.

    script: the function of the page's script that is asked for the inputs first. plain: it reads gradio's event.
    """
    more: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_name": False}
    if script:
        name = "js" if "js" in inspect.signature(event).parameters else "_js"
        count = len(inputs)
        ask = f"window.dragtext.{script}(given.slice(0, {count}))"
        more[name] = f"(...given) => window.dragtext ? {ask} : Array({count}).fill(null)"
    function = action if plain or action is None else _for_gradio(action)
    return event(function, inputs, outputs, **more)


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
