"""JSON Schemas of what stands around an edit: what is asked of a picture, of a finished edit, and files of requests."""

from __future__ import annotations

from typing import Any

from ..sdk.render.rendering import LIMIT
from .exchange import FORMATS
from .limits import MAX_DRAGS, MAX_PROMPT
from .schema import (
    DRAGS,
    MASK,
    NULLABLE_NUMBER,
    PICTURE_FIELDS,
    POINT,
    REGION,
    URI,
    list_of,
    object_of,
    settings_schema,
)
from .strips import MOST_POINTS


def pick_schema() -> dict[str, Any]:
    """JSON Schema of how somebody points at an object; one of these at least."""
    stroke = object_of(
        {"radius": {"type": "number", "exclusiveMinimum": 0}, "points": list_of(POINT)}, ["radius", "points"]
    )
    box = {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}
    properties = {
        "handles": {**list_of(POINT), "maxItems": MAX_DRAGS, "description": "(x, y) pixels that lie on it"},
        "box": {**box, "description": "left, top, right, bottom: a rectangle that holds it"},
        "plus": {**list_of(stroke), "description": "strokes over it"},
        "minus": {**list_of(stroke), "description": "strokes over what does not belong to it"},
    }
    return object_of(properties, additionalProperties=False)


def region_schema() -> dict[str, Any]:
    """JSON Schema of a region that was found."""
    return object_of({"region": URI, "note": {"type": "string"}}, ["region", "note"])


def mask_schema() -> dict[str, Any]:
    """JSON Schema of a mask that follows."""
    return object_of({"mask": URI}, ["mask"])


def drawn_schema(*required: str) -> dict[str, Any]:
    """JSON Schema of what somebody has drawn so far."""
    properties: dict[str, Any] = {"drags": {**DRAGS, "minItems": 0}, "region": REGION}
    if "region" not in required:
        properties |= {"drags": DRAGS, "mask": MASK}
    return object_of(properties, list(required), additionalProperties=False)


def start_schema() -> dict[str, Any]:
    """JSON Schema of a warped start's parts."""
    root = {**URI, "type": ["string", "null"], "description": "where it hangs on a body, if it does"}
    move = object_of({"region": URI, "drags": list_of({"type": "integer"}), "root": root}, ["region", "drags", "root"])
    properties = {
        "source": {"type": "string", "enum": ["given", "found", "mask", "handles"]},
        "moves": {**list_of(move), "description": "regions, with the numbers of the drags that carry each"},
        "background": {"type": "string", "description": "data URI of a JPEG: the picture without them, filled"},
    }
    return object_of(properties, ["source", "moves", "background"])


def document_schema() -> dict[str, Any]:
    """JSON Schema of what an edit was made from."""
    picture = object_of({name: {"type": kind} for name, kind in PICTURE_FIELDS}, [name for name, _ in PICTURE_FIELDS])
    properties = {
        "picture": picture,
        "prompt": {"type": "string"},
        "drags": DRAGS,
        "mask": MASK,
        "region": REGION,
        "settings": {"type": "object"},
        "v": list_of({"type": "number"}),
    }
    return object_of(properties, list(properties))


def strip_schema() -> dict[str, Any]:
    """JSON Schema of a strip."""
    v = {"type": "number", "minimum": -LIMIT, "maximum": LIMIT}
    pair = {"type": "array", "items": v, "minItems": 2, "maxItems": 2}
    values = {"type": "array", "items": {"anyOf": [v, pair]}, "minItems": 1, "maxItems": MOST_POINTS}
    return object_of(
        {"v": {**values, "description": "points, or pairs for image and text, in the order of the frames"}},
        ["v"],
        additionalProperties=False,
    )


def curve_schema() -> dict[str, Any]:
    """JSON Schema of what a loop did."""
    properties = {
        "distance": {**list_of({"type": "number"}), "description": "mean distance left, pixels"},
        "loss": {**list_of(NULLABLE_NUMBER), "description": "null where a step only looked"},
    }
    return object_of(properties, ["distance", "loss"])


def found_request_schema() -> dict[str, Any]:
    """JSON Schema of a request that was read from a file."""
    return object_of({"request": {"type": "object"}, "note": {"type": "string"}}, ["request", "note"])


def export_schema() -> dict[str, Any]:
    """JSON Schema of what is to be written into a file."""
    properties = {
        "format": {"type": "string", "enum": list(FORMATS)},
        "picture": {"type": "string", "description": "id of an uploaded picture"},
        "prompt": {"type": "string", "maxLength": MAX_PROMPT},
        "drags": DRAGS,
        "mask": MASK,
        "region": REGION,
        "settings": settings_schema(),
    }
    return object_of(properties, ["format", "picture", "drags"], additionalProperties=False)
