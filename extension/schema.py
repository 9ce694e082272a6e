"""The OpenAPI description of our routes: schemas and examples as plain dicts, the same under pydantic 1 and 2."""

from __future__ import annotations

from typing import Any

from ..sdk.render.rendering import LIMIT
from ..sdk.settings import catalogue
from .limits import MAX_DRAGS, MAX_PROMPT

POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
NULLABLE_NUMBER = {"type": ["number", "null"]}
NULLABLE_TEXT = {"type": ["string", "null"]}
IMAGE = {"type": "string", "description": "picture file in base64, with or without a data: prefix"}
FILES = ("application/octet-stream", "image/png", "image/jpeg", "image/webp")
PICTURES = (*FILES, "image/gif", "image/bmp", "image/tiff", "image/avif", "image/heif")
IDENTIFIER = r"^[A-Za-z0-9_-]{1,64}$"

DRAGS = {
    "type": "array",
    "description": "[[handle, target], ...], points (x, y) in pixels of the picture",
    "items": {"type": "array", "items": POINT, "minItems": 2, "maxItems": 2},
    "minItems": 1,
    "maxItems": MAX_DRAGS,
}
MASK = {
    **NULLABLE_TEXT,
    "description": "picture of the same size in base64; what is brighter than half may change",
}
REGION = {
    "type": ["string", "array", "null"],
    "items": {"type": "string"},
    "maxItems": MAX_DRAGS,
    "description": "what the drags carry, like the mask: one picture for all of them, or one per drag",
}
PICTURE_FIELDS = (("id", "string"), ("width", "integer"), ("height", "integer"))
URI = {"type": "string", "description": "data URI of a one-bit PNG of the picture's size"}

EXAMPLE_EDIT = {
    "image": "iVBORw0KGgo...",
    "prompt": "a cat",
    "drags": [[[120, 80], [180, 80]]],
    "mask": None,
    "settings": {"method": "gooddrag", "steps": 120, "lora_steps": 0},
    "wait": False,
}


def object_of(properties: dict[str, Any], required: list[str] | None = None, **more: Any) -> dict[str, Any]:
    """JSON Schema of an object."""
    return {"type": "object", "properties": properties, "required": required or [], **more}


def list_of(items: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of a list."""
    return {"type": "array", "items": items}


def settings_schema() -> dict[str, Any]:
    """JSON Schema of the settings."""
    return object_of({info.name: info.json_schema() for info in catalogue()}, additionalProperties=False)


def edit_schema() -> dict[str, Any]:
    """JSON Schema of what creates an edit."""
    properties = {
        "image": IMAGE,
        "picture": {"type": "string", "description": "id of an uploaded picture, in place of image"},
        "prompt": {
            "type": "string",
            "description": "what the picture shows, in the host's prompt syntax",
            "maxLength": MAX_PROMPT,
        },
        "drags": DRAGS,
        "source_points": {
            "type": "array",
            "items": POINT,
            "maxItems": MAX_DRAGS,
            "description": "with target_points, in place of drags",
        },
        "target_points": {"type": "array", "items": POINT, "maxItems": MAX_DRAGS},
        "mask": MASK,
        "region": REGION,
        "settings": settings_schema(),
        "wait": {"type": "boolean", "default": False, "description": "answer when it is finished, or after 10 minutes"},
        "save": {"type": "boolean", "default": True, "description": "also write the result where the host saves"},
        "id": {"type": "string", "pattern": IDENTIFIER, "description": "an id of your own; a second use is refused"},
    }
    either = [{"required": ["image"]}, {"required": ["picture"]}]
    return object_of(properties, additionalProperties=False, oneOf=either)


def picture_schema() -> dict[str, Any]:
    """JSON Schema of an uploaded picture."""
    properties = {
        **{name: {"type": kind} for name, kind in PICTURE_FIELDS},
        "request": {"type": ["object", "null"], "description": "of the edit that made it, where the file carries it"},
        "original": {
            "type": ["object", "null"],
            "properties": {name: {"type": kind} for name, kind in PICTURE_FIELDS},
            "description": "the picture that this request is for, while it is kept; this one, where it is no result",
        },
        "v": {"type": ["array", "null"], "items": {"type": "number"}, "description": "the point of that edit's way"},
        "prompt": {"type": "string", "description": "of that request, or of a host's infotext"},
        "note": {"type": "string", "description": "what there is to say about reading it"},
    }
    return object_of(properties, ["id", "width", "height"])


def job_schema() -> dict[str, Any]:
    """JSON Schema of a job's state."""
    error = object_of({"kind": {"type": "string"}, "message": {"type": "string"}}, ["kind", "message"])
    properties = {
        "id": {"type": "string"},
        "kind": {"type": "string", "enum": ["edit", "render", "strip"]},
        "edit": {"type": "string", "description": "id of the edit that this is, or is a point of"},
        "quick": {"type": "boolean", "description": "only to show how it would be"},
        "picture": {**NULLABLE_TEXT, "description": "id of the picture"},
        "created": {"type": "number", "description": "seconds since 1970"},
        "text": {"type": "string", "description": "the state in words"},
        "outcome": {
            "type": ["object", "null"],
            "description": "how an edit ended: ended, left (px), steps, seconds",
        },
        "v": {"type": "array", "items": {"type": "number"}, "description": "the point it shows: of image and text"},
        "state": {"type": "string", "enum": ["queued", "running", "done", "failed", "interrupted"]},
        "position": {"type": "integer", "description": "edits before this one"},
        "phase": {"type": "string"},
        "step": {"type": "integer"},
        "total": {"type": "integer", "description": "steps of the running phase"},
        "distance": {**NULLABLE_NUMBER, "description": "mean distance of the handles to their targets, pixels"},
        "eta": {**NULLABLE_NUMBER, "description": "seconds left of the edit, as far as can be told"},
        "points": {"type": "array", "items": POINT, "description": "where the handles are, (x, y) pixels"},
        "preview_version": {"type": "integer", "description": "grows with every new preview; 0 is none yet"},
        "preview": {**NULLABLE_TEXT, "description": "JPEG in base64, if asked for and newer than `seen`"},
        "frames": {"type": "integer", "description": "of a strip: how many of its points are rendered"},
        "values": {**list_of(list_of({"type": "number"})), "description": "of a strip: v and text of each point"},
        "error": {"anyOf": [error, {"type": "null"}]},
        "saved": {**NULLABLE_TEXT, "description": "file name of the saved picture"},
        "note": {"type": "string", "description": "what else there is to say"},
    }
    return object_of(properties, ["id", "state"])


def error_schema() -> dict[str, Any]:
    """JSON Schema of every refusal."""
    return object_of({"error": {"type": "string"}, "detail": {"type": "string"}}, ["error", "detail"])


def result_schema() -> dict[str, Any]:
    """JSON Schema of a finished edit."""
    properties = {
        "image": {"type": "string", "description": "PNG in base64, of exactly the picture's size"},
        "infotext": {"type": "string"},
        "request": {"type": "object", "description": "what creates this edit again, but for the image"},
        "v": {"type": "array", "items": {"type": "number"}, "description": "the point it shows: of image and text"},
        "report": {"type": "object"},
        "trajectory": {"type": "array", "items": {"type": "array", "items": POINT}},
    }
    return object_of(properties, ["image", "infotext", "request", "v", "report", "trajectory"])


def render_schema() -> dict[str, Any]:
    """JSON Schema of a rendering at another point of the way."""
    v = {"type": "number", "minimum": -LIMIT, "maximum": LIMIT}
    properties = {
        "v": {**v, "description": "0 the original, 1 the edit, beyond 1 more"},
        "text": {**v, "type": ["number", "null"], "description": "another v for the text embedding alone"},
        "wait": {"type": "boolean", "default": True, "description": "false: answer with a job to be asked for"},
        "save": {"type": "boolean", "default": False, "description": "also write it where the host saves"},
    }
    return object_of(properties, ["v"], additionalProperties=False)


def _json(schema: dict[str, Any], example: Any = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"application/json": content}


def file_body(*more: str) -> dict[str, Any]:
    """A request body that is a picture file; more: what else it may be, as content types."""
    content = {kind: {"schema": {"type": "string", "format": "binary"}} for kind in (*FILES, *more)}
    return {"requestBody": {"required": True, "content": content}}


def body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """A JSON request body, for `openapi_extra`."""
    return {"requestBody": {"required": True, "content": _json(schema, example)}}


def edit_body() -> dict[str, Any]:
    """The body that creates an edit: JSON, or a form with the files themselves."""
    form = {
        "image": {"type": "string", "format": "binary"},
        "mask": {"type": "string", "format": "binary"},
        "request": {"type": "string", "description": "the JSON object without image and mask"},
    }
    content = _json(edit_schema(), EXAMPLE_EDIT)
    content["multipart/form-data"] = {"schema": object_of(form, ["image", "request"], additionalProperties=False)}
    return {"requestBody": {"required": True, "content": content}}


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route; every one may answer 401 and 403."""
    reasons = {
        400: "The JSON cannot be read.",
        401: "A login is needed.",
        403: "The request comes from another site's page.",
        404: "There is no such edit, or no longer.",
        409: "Not in this state.",
        411: "The length of the body is missing.",
        413: "The body is too large.",
        415: "The body is neither JSON nor a form.",
        422: "Something given cannot be used; `detail` says what.",
        429: "Too many edits are waiting.",
        503: "The model cannot be used now.",
        507: "There is not enough memory.",
        500: "Something broke.",
    }
    every = (401, 403, *statuses)
    return {status: {"description": reasons[status], "content": _json(error_schema())} for status in every}


def answer(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """A successful JSON answer."""
    return {"description": description, "content": _json(schema)}


def file(description: str, *media: str) -> dict[str, Any]:
    """A successful answer that is a file of one of these types."""
    return {"description": description, "content": {kind: {} for kind in media}}


def in_dialect(document: Any, version: str) -> Any:
    """A part of our description in the dialect of an OpenAPI version: older FastAPIs write 3.0, which knows no null."""
    if version.startswith("3.1"):
        return document
    if isinstance(document, list):
        return [in_dialect(part, version) for part in document]
    if not isinstance(document, dict):
        return document
    older = {key: in_dialect(value, version) for key, value in document.items()}
    if isinstance(older.get("type"), list):
        older["type"], older["nullable"] = older["type"][0], True
    if {"type": "null"} in older.get("anyOf", ()):
        (only,) = (part for part in older.pop("anyOf") if part != {"type": "null"})
        older |= {**only, "nullable": True}
    if "exclusiveMinimum" in older:
        # In 3.0 it is a boolean, which FastAPI of that time turns into a number. The looser bound is right in both.
        older["minimum"] = older.pop("exclusiveMinimum")
    return older
