"""What the tab's buttons do, as plain functions: values in, values out, nothing of gradio. None waits for a job.

A function returns a value for each component that its button fills; KEEP leaves one as it is, and a `Status` is the
line above the pictures. page: the id that the page's script made up; problem: what went wrong in that script.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PIL import Image

from ..sdk.errors import DragTextError, InputError
from ..sdk.model import cache
from ..sdk.picture.files import METADATA_KEY
from ..sdk.picture.masks import from_uri, load_mask
from ..sdk.picture.reading import load_image, open_picture, to_pil
from ..sdk.request import Request
from ..sdk.settings import as_dict, catalogue, make_settings
from .editing import V_KEY
from .form import form_values, shown_value
from .infotext import Reading, read_infotext, read_request, read_v
from .job import EditJob
from .limits import sentence
from .pictures import DECODING, Picture
from .points import line_of, parse_points
from .queue import Jobs, finished_edit, finished_picture
from .words import words

KEEP: Final = object()
NO_SCRIPT = "The page's script is not there yet; wait a moment, or reload the page."


@dataclass(frozen=True)
class Status:
    """One line for the user."""

    text: str
    bad: bool = False


def submit(
    jobs: Jobs,
    page: str,
    problem: str,
    picture: str,
    mask: str,
    prompt: str,
    lines: str,
    values: Sequence[Any],
) -> tuple[str, Status]:
    """Drag. picture, mask: ids of what the script has uploaded, or empty. Returns the job's id, empty where refused."""
    try:
        _ready(page, problem)
        if not picture:
            raise InputError("There is no picture; put one into the box on the left.")
        chosen = make_settings(form_values(catalogue(), tuple(values)))
        area = jobs.pictures.get(mask).uri if mask else None
        asked = Request(parse_points(lines or ""), prompt or "", area, chosen)
        job = jobs.submit(jobs.pictures.get(picture), asked, owner=page)
    except DragTextError as error:
        return "", _refusal(error)
    return job.id, Status(words(jobs, job))


def interrupt(jobs: Jobs, page: str, job_id: str) -> Status:
    """Stop this page's job, and nobody else's."""
    own = [job for job in jobs.history(page) if not job.ended.is_set()]
    chosen = [job for job in own if job.id == job_id] or own[:1]
    if not chosen:
        return Status("Nothing of this page is running.")
    jobs.interrupt(chosen[0])
    return Status("Stopping; the best so far is kept.")


def latest(jobs: Jobs, page: str) -> tuple[str, Status]:
    """The newest job of this page, to be followed again."""
    own = jobs.history(page)
    if not own:
        return "", Status("This page has no edit yet.")
    return own[-1].id, Status(words(jobs, own[-1]))


def collect(jobs: Jobs, page: str, job_id: str) -> tuple[Any, Any, Status]:
    """Picture, infotext and status of a job that has ended."""
    try:
        job = jobs.get(job_id, page)
    except DragTextError as error:
        return KEEP, KEEP, _refusal(error)
    status = Status(words(jobs, job), job.state == "failed")
    if job.image is None:
        return KEEP, KEEP, status
    return job.image, job.infotext, status


def render(jobs: Jobs, page: str, problem: str, shown: str, v: float) -> tuple[str, Status]:
    """Another point of the edit that is shown. Returns the job's id, empty where refused."""
    try:
        _ready(page, problem)
        if not shown:
            raise InputError("There is no result to render from yet; drag first.")
        job = jobs.submit_render(jobs.get(shown, page), v, save=True, owner=page)
    except DragTextError as error:
        return "", _refusal(error)
    return job.id, Status(words(jobs, job))


def go_on(jobs: Jobs, page: str, shown: str) -> tuple[Any, Any, Any, Status]:
    """Drag the result: what is shown, at the v that is shown. Returns picture, points, id of the picture before."""
    try:
        if not shown:
            raise InputError("There is no result yet; drag first.")
        job = jobs.get(shown, page)
        picture, before = finished_picture(job), finished_edit(job).picture
    except DragTextError as error:
        return KEEP, KEEP, KEEP, _refusal(error)
    if before is not None:
        jobs.pictures.keep(before)
    at = "The result" if isinstance(job, EditJob) else f"The result at {job.v[0]:g}"
    return picture, "", before.id if before else KEEP, Status(f"{at} is the picture now.")


def go_back(jobs: Jobs, previous: str) -> tuple[Any, Status]:
    """The picture before."""
    if not previous:
        return KEEP, Status("There is no picture before this one.")
    try:
        return _opened(jobs.pictures.get(previous)), Status("This is the picture before.")
    except DragTextError as error:
        return KEEP, _refusal(error)


def take(jobs: Jobs, page: str, problem: str, picture: str, infotext: str) -> tuple[Any, ...]:
    """Use an infotext, or without one what a dropped PNG carries. picture: id of the uploaded picture, or empty.

    Returns prompt, lines of drags, mask, v, a value per setting, status.
    """
    settings = catalogue()
    try:
        _ready(page, problem)
        found, note = _found(jobs, page, picture, infotext or "")
        mask, note = _mask_of(found, note)
    except DragTextError as error:
        return (*[KEEP] * (4 + len(settings)), _refusal(error))
    values = as_dict(found.request.settings)
    shown = [shown_value(info, values[info.name]) for info in settings]
    lines = "\n".join(line_of(drag) for drag in found.request.drags)
    return (found.request.prompt, lines, mask, found.v[0], *shown, Status(f"Taken over: prompt, drags, settings{note}"))


def empty_cache(jobs: Jobs) -> Status:
    """Delete what the SDK has cached."""
    jobs.forget_editors()
    jobs.configure_cache()
    return Status(f"{cache.clear() / 2**20:.1f} MB of the cache were deleted.")


def _found(jobs: Jobs, page: str, picture: str, infotext: str) -> tuple[Reading, str]:
    """What was asked for, and what there is to add to "taken over"."""
    if not infotext.strip():
        return _of_file(jobs, picture), "."
    reading = read_infotext(infotext)
    try:
        edit = finished_edit(jobs.get(reading.edit, page)) if reading.edit else None
    except DragTextError:
        edit = None
    if edit is not None and edit.result is not None and edit.request.drags == reading.request.drags:
        # The server still has it whole.
        return Reading(edit.result.request, edit.result.request.mask is not None, edit.id, reading.v), "."
    return reading, "; its mask is not in an infotext, so drop the PNG or add the mask." if reading.masked else "."


def _of_file(jobs: Jobs, picture: str) -> Reading:
    if not picture:
        raise InputError("Paste an infotext, or put a PNG that DragText wrote into the picture box.")
    with DECODING:
        opened = open_picture(jobs.pictures.get(picture).data, "picture")
    text = getattr(opened, "text", {})
    if METADATA_KEY not in text:
        if "parameters" in text:
            return read_infotext(str(text["parameters"]))
        raise InputError(
            "This picture carries no DragText request; use a PNG that DragText wrote, or paste an infotext."
        )
    return Reading(read_request(str(text[METADATA_KEY])), v=read_v(str(text.get(V_KEY, "1"))))


def _mask_of(found: Reading, note: str) -> tuple[Any, str]:
    """The mask as a picture; None empties the box."""
    text = found.request.mask
    if text is None:
        return None, note
    if not text.startswith("data:"):
        raise InputError("The mask of this request is a file; put it into the box for the mask.")
    with DECODING:
        opened = open_picture(from_uri(text), "mask")
        mask = load_mask(opened, (opened.height, opened.width))
    return Image.fromarray(mask).convert("L"), f" and mask{note}"


def _opened(picture: Picture) -> Image.Image:
    with DECODING:
        loaded = load_image(picture.data)
    return to_pil(loaded.rgb, loaded.alpha)


def _ready(page: str, problem: str) -> None:
    if problem:
        raise InputError(sentence(problem))
    if not page:
        raise InputError(NO_SCRIPT)


def _refusal(error: DragTextError) -> Status:
    return Status(sentence(error), bad=True)
