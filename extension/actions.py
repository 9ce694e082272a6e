"""What the tab's components do, as plain functions: values in, values out, nothing of gradio. None waits for a job.

A function returns a value for each component that its event fills; KEEP leaves one as it is, and a `Status` is the
line under the button. page: the id that the page's script made up; problem: what went wrong in that script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..sdk.errors import DragTextError, InputError
from ..sdk.model import cache
from ..sdk.request import Request
from ..sdk.settings import catalogue, make_settings
from .form import form_values, shown_values
from .infotext import Reading, read_infotext
from .limits import check_prompt, sentence
from .queue import Jobs, finished_edit
from .words import words

KEEP: Final = object()
NO_SCRIPT = "The page's script is not there yet; wait a moment, or reload the page."


@dataclass(frozen=True)
class Status:
    """One line for the user."""

    text: str
    bad: bool = False


def submit(
    jobs: Jobs, page: str, problem: str, document: str, prompt: str, values: Sequence[Any]
) -> tuple[str, Status]:
    """Drag. document: JSON of the canvas: picture, mask, region (ids of uploads; the last two may be null), drags.

    Returns the job's id, empty where refused.
    """
    try:
        _ready(page, problem)
        told = _document(document)
        picture = jobs.pictures.get(told["picture"])
        mask, region = (jobs.pictures.get(told[name]).uri if told[name] else None for name in ("mask", "region"))
        chosen = make_settings(form_values(catalogue(), tuple(values)))
        asked = Request.from_data({"prompt": prompt or "", "drags": told["drags"], "mask": mask, "region": region})
        job = jobs.submit(picture, replace(asked, settings=chosen), owner=page)
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


def collect(jobs: Jobs, page: str, job_id: str) -> tuple[Any, Any]:
    """Picture and infotext of a job that has ended, for what hosts bind to."""
    try:
        job = jobs.get(job_id, page)
    except DragTextError:
        return KEEP, KEEP
    return (KEEP, KEEP) if job.image is None else (job.image, job.infotext)


def fill(problem: str, wanted: str) -> tuple[Any, ...]:
    """Put settings, and a prompt where there is one, into the form. wanted: JSON {"settings": {...}, "prompt": ...}.

    Returns prompt, a value per setting, status.
    """
    settings = catalogue()
    try:
        if problem:
            raise InputError(sentence(problem))
        try:
            told = json.loads(wanted or "")
            chosen, prompt = make_settings(dict(told["settings"])), told.get("prompt")
        except (ValueError, KeyError, TypeError, RecursionError):
            raise InputError("These settings cannot be read.") from None
        check_prompt(prompt or "")
    except DragTextError as error:
        return (*[KEEP] * (1 + len(settings)), _refusal(error))
    return (KEEP if prompt is None else prompt, *shown_values(chosen), KEEP)


def take(jobs: Jobs, page: str, problem: str, infotext: str) -> tuple[Any, ...]:
    """Use an infotext. Returns what the canvas shall show as JSON (a request and v), prompt, settings, status."""
    settings = catalogue()
    try:
        _ready(page, problem)
        if not (infotext or "").strip():
            raise InputError("Paste the infotext of a picture that DragText made, or drop its PNG onto the canvas.")
        found, note = _found(jobs, page, infotext)
    except DragTextError as error:
        return (*[KEEP] * (2 + len(settings)), _refusal(error))
    shown = shown_values(found.request.settings)
    told = json.dumps({"request": found.request.to_data(chosen=True), "v": list(found.v)})
    return told, found.request.prompt, *shown, Status(f"Taken over: prompt, drags, settings{note}")


def empty_cache(jobs: Jobs) -> Status:
    """Delete what the SDK has cached."""
    jobs.forget_editors()
    jobs.configure_cache()
    return Status(f"{cache.clear() / 2**20:.1f} MB of the cache were deleted.")


def _document(text: str) -> dict[str, Any]:
    """What the canvas holds, each part of its kind. Raises InputError."""
    try:
        told = json.loads(text or "{}")
        picture, mask, region = (told.get(name) or "" for name in ("picture", "mask", "region"))
        drags = told.get("drags") or []
    except (ValueError, AttributeError, RecursionError):
        raise InputError("What the canvas holds cannot be read; reload the page.") from None
    if not all(isinstance(one, str) for one in (picture, mask, region)) or not isinstance(drags, list):
        raise InputError("What the canvas holds cannot be read; reload the page.")
    if not picture:
        raise InputError("There is no picture yet; drop one onto the canvas.")
    return {"picture": picture, "mask": mask, "region": region, "drags": drags or None}


def _found(jobs: Jobs, page: str, infotext: str) -> tuple[Reading, str]:
    """What was asked for, and what there is to add to "taken over"."""
    reading = read_infotext(infotext)
    try:
        edit = finished_edit(jobs.get(reading.edit, page)) if reading.edit else None
    except DragTextError:
        edit = None
    if edit is not None and edit.result is not None and edit.request.drags == reading.request.drags:
        # The server still has it whole.
        return Reading(edit.result.request, edit.result.request.mask is not None, edit.id, reading.v), "."
    return reading, "; its mask is not in an infotext, so drop the PNG or paint it." if reading.masked else "."


def _ready(page: str, problem: str) -> None:
    if problem:
        raise InputError(sentence(problem))
    if not page:
        raise InputError(NO_SCRIPT)


def _refusal(error: DragTextError) -> Status:
    return Status(sentence(error), bad=True)
