"""The tab in its plain form: picture, points as text, mask, every setting, Drag and Interrupt; gradio 3 and 4 alike.

Only what both gradio versions have is used. The edits themselves are jobs, so closing or reloading the page loses
nothing: "Show latest" follows the newest one again.
"""

from __future__ import annotations

import html
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from ..sdk.errors import DragTextError, InputError
from ..sdk.model import cache
from ..sdk.picture.drawing import draw_instruction
from ..sdk.request import Drag, Request
from ..sdk.settings import as_dict, catalogue, make_settings
from .editing import small
from .form import beginning_settings, form_values, setting_fields, shown_value
from .infotext import read_infotext
from .job import Job
from .points import add_click, line_of, parse_points, remove_click
from .queue import Jobs, finished_result

log = logging.getLogger("dragtext")

POLL = 0.4
SHOWN_SIDE = 1024
HINT = "Click on the picture: first a handle, then its target, and so on. Or write a line each: 120,80 -> 180,80"


def build(jobs: Jobs) -> gr.Blocks:
    """The tab's contents."""
    settings = catalogue()
    beginning = as_dict(beginning_settings(jobs))

    with gr.Blocks(analytics_enabled=False) as blocks:
        with gr.Row(elem_id="dragtext_tab"):
            with gr.Column():
                picture = gr.Image(label="Picture to drag", type="pil", elem_id="dragtext_picture", image_mode="RGBA")
                prompt = gr.Textbox(label="What the picture shows", lines=2, elem_id="dragtext_prompt")
                points = gr.Textbox(label="Drags", lines=4, info=HINT, elem_id="dragtext_points")
                with gr.Row():
                    undo_point = gr.Button("Remove last point", elem_id="dragtext_undo_point")
                    clear_points = gr.Button("Remove all points", elem_id="dragtext_clear_points")
                mask = gr.Image(
                    label="Mask, of the same size: what is brighter than half may change (optional)",
                    type="pil",
                    elem_id="dragtext_mask",
                )
                fields = setting_fields(settings, beginning)
            with gr.Column():
                with gr.Row():
                    drag = gr.Button("Drag", variant="primary", elem_id="dragtext_drag")
                    interrupt = gr.Button("Interrupt", variant="stop", elem_id="dragtext_interrupt")
                    latest = gr.Button("Show latest", elem_id="dragtext_latest")
                status = gr.HTML(_status("Nothing is running."), elem_id="dragtext_status")
                shown = _shown_image(label="State", elem_id="dragtext_state")
                result = _shown_image(label="Result", elem_id="dragtext_result")
                v = gr.Slider(-1, 3, value=1, step=0.05, label="How much of the edit", elem_id="dragtext_v")
                with gr.Row():
                    render = gr.Button("Render", elem_id="dragtext_render")
                    onward = gr.Button("Drag the result", elem_id="dragtext_onward")
                    back = gr.Button("Picture before", elem_id="dragtext_back")
                text = gr.Textbox(
                    label="Infotext",
                    lines=3,
                    max_lines=6,
                    info="of the result; paste one of yours and press Use to get its prompt, drags and settings",
                    elem_id="dragtext_infotext",
                )
                with gr.Row():
                    use = gr.Button("Use", elem_id="dragtext_use")
                    clear_cache = gr.Button("Clear the cache", elem_id="dragtext_clear_cache")
        job_id = gr.State("")
        previous = gr.State(None)  # file names of earlier pictures would not survive; one picture does

        for component in [picture, prompt, points, mask, shown, result, v, text, *fields]:
            component.do_not_save_to_config = True  # A1111 would write our defaults into its ui-config.json

        watched = [status, shown, result, text, job_id]

        def start(image: Any, words: str, lines: str, area: Any, *values: Any) -> Iterator[list[Any]]:
            try:
                if image is None:
                    raise InputError("There is no picture; put one into the box on the left.")
                if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] == 255:
                    image = image.convert("RGB")  # gradio gives every picture an alpha
                chosen = make_settings(form_values(settings, values))
                asked = Request(parse_points(lines), words or "", None, chosen)
                job = jobs.submit(image, asked, area)
            except DragTextError as error:
                yield [_status(str(error), "error"), gr.update(), gr.update(), gr.update(), gr.update()]
                return
            yield from _follow(jobs, job)

        def follow_latest() -> Iterator[list[Any]]:
            known = jobs.all()
            if not known:
                yield [_status("There is no edit yet."), gr.update(), gr.update(), gr.update(), gr.update()]
                return
            yield from _follow(jobs, known[-1])

        def stop(identifier: str) -> str:
            active = [job for job in jobs.all() if not job.ended.is_set()]
            own = [job for job in active if job.id == identifier]
            # A fresh page knows no job: then it is the one that runs.
            chosen = own or [job for job in active if job.state == "running"] or active
            if not chosen:
                return _status("Nothing is running.")
            jobs.interrupt(chosen[0])
            return _status("Stopping; the best so far is kept.")

        def add_point(lines: str, event: gr.SelectData) -> str:
            x, y = event.index[:2]
            return add_click(lines, int(x), int(y))

        def draw(identifier: str, amount: float) -> list[Any]:
            try:
                job = jobs.get(identifier)
                return [jobs.render(job, amount), _status(f"Rendered at {amount:g}.")]
            except DragTextError as error:
                return [gr.update(), _status(str(error), "error")]

        def go_on(identifier: str, image: Any) -> list[Any]:
            try:
                picture_now = finished_result(jobs.get(identifier)).image
            except DragTextError as error:
                return [gr.update(), gr.update(), gr.update(), _status(str(error), "error")]
            return [picture_now, "", image, _status("The result is the picture now.")]

        def go_back(image: Any) -> list[Any]:
            if image is None:
                return [gr.update(), _status("There is no picture before this one.")]
            return [image, _status("This is the picture before.")]

        def take(infotext: str) -> list[Any]:
            try:
                asked = read_infotext(infotext or "")
            except DragTextError as error:
                return [gr.update()] * (2 + len(settings)) + [_status(str(error), "error")]
            lines = "\n".join(line_of(d) for d in asked.drags)
            values = as_dict(asked.settings)
            shown_values = [shown_value(info, values[info.name]) for info in settings]
            note = "Prompt, drags and settings are taken over" + ("; add the mask yourself." if asked.mask else ".")
            return [asked.prompt, lines, *shown_values, _status(note)]

        def empty_cache() -> str:
            jobs.forget_editors()
            jobs.configure_cache()
            return _status(f"{cache.clear() / 2**20:.1f} MB of the cache were deleted.")

        on = _events()
        on(drag.click, start, [picture, prompt, points, mask, *fields], watched, many=True)
        on(latest.click, follow_latest, [], watched, many=True)
        on(interrupt.click, stop, [job_id], [status], queue=False)
        on(picture.select, add_point, [points], [points], queue=False)
        on(undo_point.click, remove_click, [points], [points], queue=False)
        on(clear_points.click, lambda: "", [], [points], queue=False)
        on(render.click, draw, [job_id, v], [result, status])
        on(onward.click, go_on, [job_id, picture], [picture, points, previous, status])
        on(back.click, go_back, [previous], [picture, status])
        on(use.click, take, [text], [prompt, points, *fields, status])
        on(clear_cache.click, empty_cache, [], [status], queue=False)
    return blocks


def _follow(jobs: Jobs, job: Job) -> Iterator[list[Any]]:
    """What the page shows of a job until it ends."""
    original = small(Image.fromarray(job.picture.rgb), SHOWN_SIDE)
    scale = original.width / job.picture.rgb.shape[1]
    seen = None
    while not job.ended.is_set():
        state = (job.state, job.phase, job.step, job.version, job.points)
        if state != seen:
            redraw = seen is None or state[3:] != seen[3:]
            seen = state
            picture = _drawn(original, scale, job) if redraw else gr.update()
            yield [_status(_words(jobs, job)), picture, gr.update(), gr.update(), job.id]
        job.ended.wait(POLL)
    if job.result is None:
        mood = "error" if job.state == "failed" else ""
        yield [_status(str(job.error), mood), gr.update(), gr.update(), gr.update(), job.id]
        return
    words = [_words(jobs, job)]
    if job.saved is not None:
        words.append(f"Saved as {job.saved.name}.")
    if job.note:
        words.append(job.note)
    yield [_status(" ".join(words)), _drawn(original, scale, job), job.result.image, job.infotext, job.id]


def _drawn(original: Image.Image, scale: float, job: Job) -> Image.Image:
    """The preview, or the picture, with the drags from where the handles are now."""
    base = original if job.preview is None else job.preview.convert("RGB").resize(original.size)
    now = job.points or tuple(drag.source for drag in job.request.drags)
    drags = [
        Drag((x * scale, y * scale), (drag.target[0] * scale, drag.target[1] * scale))
        for (x, y), drag in zip(now, job.request.drags)
    ]
    mask = None
    if job.mask is not None:
        mask = np.array(Image.fromarray(job.mask).resize(original.size))
    return Image.fromarray(draw_instruction(np.array(base), drags, mask))


def _words(jobs: Jobs, job: Job) -> str:
    if job.state == "queued":
        before = jobs.position(job)
        return f"Waiting; {before} edits are before this one." if before else "Waiting for the model."
    if job.result is not None and job.ended.is_set():
        result = job.result
        endings = {
            "reached": "All points arrived",
            "steps": "All steps were used",
            "stuck": "The points do not move any more",
            "interrupted": "Stopped; this is the best so far",
            "diverged": "The loss became NaN; this is the last good state",
        }
        left = np.mean([drag.distance_after for drag in result.drags])
        seconds = sum(result.timings.values())
        return f"{endings[result.stopped]}: {left:.0f} px left after {result.steps} steps, {seconds:.0f} s."
    words = f"{job.phase.capitalize()} {job.step}/{job.total}" if job.total else job.phase.capitalize()
    if job.distance is not None and job.phase == "dragging":
        words += f", {job.distance:.0f} px left"
    if job.eta is not None:
        words += f", about {job.eta:.0f} s"
    return words


def _shown_image(**more: Any) -> Any:
    if "format" in inspect.signature(gr.Image).parameters:
        more["format"] = "png"  # gradio 4 would show, and hand out, a lossy webp
    return gr.Image(type="pil", interactive=False, **more)


def _status(text: str, mood: str = "") -> str:
    colour = "color: var(--error-text-color, #b91c1c)" if mood == "error" else ""
    return f'<p style="{colour}" role="status">{html.escape(text)}</p>'


def _events() -> Callable[..., None]:
    """`on(event, function, inputs, outputs)`, with `many`: several of them may run at once."""

    def on(
        event: Callable[..., Any],
        function: Callable[..., Any],
        inputs: list[Any],
        outputs: list[Any],
        *,
        many: bool = False,
        queue: bool | None = None,
    ) -> None:
        more: dict[str, Any] = {} if queue is None else {"queue": queue}
        if many and "concurrency_limit" in inspect.signature(event).parameters:
            more["concurrency_limit"] = None  # gradio 4 runs one at a time by default
        event(function, inputs, outputs, show_progress="hidden", api_name=False, **more)

    return on
