"""A drag inside a generation: img2img's picture is dragged as a request says, instead of being sampled anew.

A script of the host, so that whatever makes generations can drag: batches of files, X/Y/Z plots, the host's API. The
generation holds the host's lock, loads the checkpoint, and saves; only its sampling is replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...sdk.errors import DragTextError, InputError
from ...sdk.picture.files import METADATA_KEY
from ...sdk.request import Request
from ...sdk.settings import make_settings
from ..carried import carried_by
from ..editing import records_of
from ..infotext import infotext_pairs
from ..job import EditJob, Job
from ..limits import MAX_INFOTEXT
from ..pictures import Picture, read_picture
from ..queue import Jobs, UnknownJobError, finished_edit, finished_picture

TITLE = "DragText: repeat a drag"
AXIS = "dragtext_axis_"  # what an X/Y/Z plot sets on a generation, by setting
V = "v"
RECORDS = "dragtext_records"  # what the generation's PNG carries besides the infotext


class Repeater:
    """Drags what generations bring. The newest edit is kept for further points of it, as a plot over v asks for."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._latest: tuple[str, Request, EditJob] | None = None

    def request(self, text: str, picture: Picture, texts: Mapping[str, Any]) -> Request:
        """What is asked for: `text`, a request as JSON or an infotext, or else what the picture's own texts say.

        Raises InputError.
        """
        text = text.strip()
        if len(text) > MAX_INFOTEXT and not text.startswith("{"):
            raise InputError(f"This infotext has {len(text)} characters; the most is {MAX_INFOTEXT}.")
        if text:
            texts = {METADATA_KEY if text.startswith("{") else "parameters": text}
        found = carried_by({name: str(value) for name, value in texts.items()}, picture.size, self._known)
        if found.request is None:
            raise InputError(
                found.note
                or "There is no drag to repeat; paste a request or an infotext, or use a PNG that carries one."
            )
        if found.note:
            raise InputError(found.note)  # nobody looks at a note in the middle of a plot
        return found.request

    def drag(self, picture: Picture, request: Request, v: float) -> Job:
        """The finished job. Raises DragTextError, also where it was stopped before there was a picture."""
        latest = self._latest
        if latest and latest[:2] == (picture.id, request):
            job = self._point(latest[2], v)
            if job is not None:
                return job
        edit = self._jobs.submit(picture, request, save=False, here=True)
        finished_picture(edit)
        self._latest = (picture.id, request, edit)
        if v == 1:
            return edit
        job = self._jobs.submit_render(edit, v, save=False, here=True)
        finished_picture(job)
        return job

    def _point(self, edit: EditJob, v: float) -> Job | None:
        """A point of an edit; None where it is not kept any more, or another checkpoint is chosen now."""
        try:
            job = self._jobs.submit_render(edit, v, save=False, here=True)
            finished_picture(job)
        except DragTextError:
            return None
        return job

    def _known(self, identifier: str) -> EditJob | None:
        try:
            return finished_edit(self._jobs.get(identifier))
        except (UnknownJobError, DragTextError):
            return None


def overridden(request: Request, axes: Mapping[str, Any], prompt: str) -> Request:
    """The request with what a plot sets, and the generation's prompt where it has one. Raises InputError."""
    settings = make_settings(dict(axes), base=request.settings) if axes else request.settings
    return replace(request, settings=settings, prompt=prompt.strip() or request.prompt)


def decoded(image: Image.Image) -> Tensor:
    """(3, H, W) in [-1, 1], as a host expects decoded samples. It cuts the fractions of the 255ths off, and another
    might round: a quarter comes out as the same pixels either way."""
    pixels = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32).copy()).movedim(-1, 0)
    return ((pixels + 0.25) / 255 * 2 - 1).clamp(-1, 1)


def make_script(jobs: Jobs) -> type:
    """The script as the host wants it: a class, found by its base."""
    from modules import scripts

    repeater = Repeater(jobs)

    class RepeatADrag(scripts.Script):
        def title(self) -> str:
            return TITLE

        def show(self, is_img2img: bool) -> Any:
            return scripts.AlwaysVisible if is_img2img else False

        def ui(self, is_img2img: bool) -> list[Any]:
            import gradio as gr

            with gr.Accordion(TITLE, open=False, elem_id="dragtext_repeat"):
                enabled = gr.Checkbox(
                    False,
                    label="Drag the picture instead of generating from it",
                    elem_id="dragtext_repeat_enabled",
                )
                text = gr.Textbox(
                    label="Request or infotext of the drag (empty: what the picture, a PNG, carries)",
                    lines=3,
                    max_lines=6,
                    elem_id="dragtext_repeat_request",
                )
                v = gr.Slider(-1, 3, value=1, step=0.05, label="How much of the drag (v)", elem_id="dragtext_repeat_v")
            for component in (enabled, text, v):
                component.do_not_save_to_config = True
            return [enabled, text, v]

        def before_process(self, p: Any, enabled: bool = False, *_: Any) -> None:
            if enabled:
                p.batch_size = p.n_iter = 1  # the same drag gives the same picture
                p.init_images = list(p.init_images or [])[:1]

        def process(self, p: Any, enabled: bool = False, text: str = "", v: float = 1.0) -> None:
            if not enabled:
                return
            try:
                p.sample = _sampling(repeater, p, str(text or ""), float(v))
            except Exception as error:  # hosts report what is raised here in their log, and go on sampling
                p.sample = _raising(error)

    return RepeatADrag


def _sampling(repeater: Repeater, p: Any, text: str, v: float) -> Callable[..., Any]:
    """What takes the place of a generation's sampling. Raises InputError."""
    if getattr(p, "image_mask", None) is not None:
        raise InputError("A drag has its mask in its request; repeat it in the img2img tab, not in Inpaint.")
    if not p.init_images:
        raise InputError("There is no picture to drag; put one into img2img.")
    image = p.init_images[0]
    picture = read_picture(image)
    axes = {name[len(AXIS) :]: value for name, value in vars(p).items() if name.startswith(AXIS)}
    at = float(axes.pop(V, v))
    asked = repeater.request(text, picture, getattr(image, "info", {}))
    asked = overridden(asked, axes, str(p.all_prompts[0]))
    p.all_prompts, p.main_prompt = [asked.prompt], asked.prompt
    negative = asked.settings.negative_prompt  # the infotext of a generation has it from here
    p.all_negative_prompts, p.main_negative_prompt = [negative], negative

    def sample(*_: Any, **__: Any) -> Any:
        from modules import devices, processing

        with devices.without_autocast():  # A1111 samples under autocast; the SDK says itself where it wants it
            job = repeater.drag(picture, asked, at)
        tell(p, job)
        return processing.DecodedSamples([decoded(finished_picture(job))])

    return sample


def _raising(error: Exception) -> Callable[..., Any]:
    def sample(*_: Any, **__: Any) -> Any:
        raise error

    return sample


def tell(p: Any, job: Job) -> None:
    """Let the generation's infotext and PNG say what was done."""
    result = finished_edit(job).result
    assert result is not None
    ours = infotext_pairs(result, job.origin.id, job.v)
    others = {name: value for name, value in p.extra_generation_params.items() if name != "Denoising strength"}
    # A dictionary of its own: a plot's generations share theirs.
    p.extra_generation_params = {**others, **{name: ours[name] for name in ours if name.startswith("DragText ")}}
    p.steps, p.sampler_name, p.cfg_scale, p.scheduler = ours["Steps"], ours["Sampler"], ours["CFG scale"], None
    p.seeds = p.all_seeds = [result.settings.seed]
    p.width, p.height = result.image.size
    p.color_corrections = None
    setattr(p, RECORDS, records_of(job))


def add_records(params: Any) -> None:
    """Before the host saves a picture: the request lies in its PNG, as in those of the tab."""
    records = getattr(getattr(params, "p", None), RECORDS, None)
    if records:
        params.pnginfo.update(records)
