"""The page's settings: presets, what suits the model, and what an edit will take."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from fastapi import Request, Response
from fastapi.responses import JSONResponse

from ...sdk.drag.deform import drag_kind
from ...sdk.errors import InputError
from ...sdk.model.means import Choice
from ...sdk.model.recommended import for_kind
from ...sdk.request import make_drags
from ...sdk.settings import make_settings, with_recommended
from .. import schema
from ..bodies import in_thread, json_body
from ..limits import check_count
from ..presets import Presets
from .base import Routes

LONGEST_QUERY = 20_000
ANY = {"type": "object"}


def add_presets(routes: Routes) -> None:
    """Settings under a name, of everybody who may use this page."""
    presets = Presets(routes.jobs.host.config_folder)

    @routes.add("GET", "/presets", "Settings under a name", {200: schema.answer(ANY, "Name to settings.")})
    async def list_presets(request: Request) -> Response:
        return JSONResponse(await in_thread(presets.all))

    @routes.add("PUT", "/presets/{name}", "Keep settings under a name", {200: schema.answer(ANY, "All presets.")})
    async def put_preset(request: Request, name: str) -> Response:
        fields = await json_body(request)
        if set(fields) != {"settings"}:
            raise InputError("Give settings and nothing else.")
        await in_thread(presets.put, name, fields["settings"])
        return JSONResponse(await in_thread(presets.all))

    @routes.add("DELETE", "/presets/{name}", "Forget a preset", {200: schema.answer(ANY, "All presets.")})
    async def delete_preset(request: Request, name: str) -> Response:
        await in_thread(presets.delete, name)
        return JSONResponse(await in_thread(presets.all))


def add_expectation(routes: Routes) -> None:
    """What suits the model that is there, and what an edit will probably take."""
    jobs = routes.jobs

    @routes.add("GET", "/recommended", "The settings that come with the model", {200: schema.answer(ANY, "Settings.")})
    async def recommended(request: Request, drags: str = "") -> Response:
        """`drags`: for which, as JSON; some models have other settings for other kinds of drags."""
        return JSONResponse(await in_thread(lambda: for_kind(jobs.host.recommended(), _kind(drags))))

    @routes.add("POST", "/expectation", "What an edit will probably take", {200: schema.answer(ANY, "Or null.")})
    async def expectation(request: Request) -> Response:
        """From what earlier edits took, and from the model's size; null where nothing is known.

        `need_mb` of `room_mb` that can be had, with what is done where it is too little (`means`); not `fits`: the edit
        would be refused.
        """
        fields = await json_body(request)
        if not isinstance(fields.get("picture"), str) or not isinstance(fields.get("settings"), dict):
            raise InputError("Give picture, the id of an uploaded one, and settings.")
        picture = jobs.pictures.get(fields["picture"])

        def found() -> dict[str, Any]:
            suited = for_kind(jobs.host.recommended(), "other")
            settings, _ = with_recommended(make_settings(fields["settings"]), suited)
            expected = jobs.expect(picture, settings)
            return {
                "seconds": expected.seconds and round(expected.seconds, 1),
                "memory_mb": _megabytes(expected.memory),
                **_memory(jobs.memory(picture, settings)),
            }

        return JSONResponse(await in_thread(found))


def _megabytes(count: int | None) -> int | None:
    return count and round(count / 2**20)


def _memory(choice: Choice | None) -> dict[str, Any]:
    """What an edit needs in all, of which memory, and what is done to need less: the names of `Means`."""
    if choice is None:
        return {"need_mb": None, "room_mb": None, "means": {}, "fits": True}
    means = {name: value for name, value in vars(choice.means).items() if value}
    fits = choice.room is None or choice.needed <= choice.room
    return {"need_mb": _megabytes(choice.full), "room_mb": _megabytes(choice.room), "means": means, "fits": fits}


def _kind(text: str) -> str:
    """The kind of the drags in JSON; of no drags, none in particular."""
    if not text:
        return "other"
    if len(text) > LONGEST_QUERY:
        raise InputError("There are too many drags.")
    try:
        drags = make_drags(json.loads(text))
    except (ValueError, RecursionError):
        raise InputError("drags is no JSON.") from None
    check_count(len(drags))
    return drag_kind(*(np.array([getattr(drag, end) for drag in drags]) for end in ("source", "target")))
