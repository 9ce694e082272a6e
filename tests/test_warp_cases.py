"""The warp that the page draws is the one that an edit begins with: shared cases, which node checks in warp.test.mjs.

`python -m tests.test_warp_cases` writes them anew.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
from dragtext.sdk.drag.bend import bent_map, find_root
from dragtext.sdk.drag.deform import deform, fetch_map, transform_kind
from dragtext.sdk.drag.start import warp_picture
from dragtext.sdk.request import Drag

CASES = Path(__file__).parent / "warp_cases.json"
EVERY = 7  # of a map's pixels, in either direction
PART, ROOT = (24, 50, 124, 122), (122, 50, 128, 122)  # a region and where it hangs: top, left, bottom, right
HANDLES = np.array([[60.0, 50.0], [120.0, 60.0], [90.0, 130.0], [70.0, 100.0]])


def turned(points: np.ndarray, angle: float, size: float = 1.0) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return size * (points - 90) @ np.array([[cos, sin], [-sin, cos]]) + 90


def situations() -> dict[str, tuple[np.ndarray, np.ndarray, bool]]:
    """Handles, targets, and whether what moves hangs on a body, by name."""
    pins = HANDLES.copy()
    pins[:3] = HANDLES[:3]
    pins[3] += (25, -10)
    two = HANDLES[:2]
    return {
        "one drag": (HANDLES[:1], HANDLES[:1] + (31.5, -12.25), False),
        "a move of all": (HANDLES, HANDLES + (20, -7), False),
        "a turn": (HANDLES, turned(HANDLES, 0.6), False),
        "a turn by two": (two, turned(two, -0.9), False),
        "a growth": (HANDLES, turned(HANDLES, 0.3, 1.4), False),
        "a growth by two": (two, (two - 90) * 1.5 + 90, False),
        "a stretch": (HANDLES, (HANDLES - 90) * (1.4, 0.8) + 90, False),
        "a shear": (HANDLES, (HANDLES - 90) @ np.array([[1.0, 0.0], [0.4, 1.0]]) + 90, False),
        "drags that disagree": (HANDLES, HANDLES + [(30, 0), (-30, 0), (0, 25), (5, -30)], False),
        "pins": (HANDLES, pins, False),
        "on a line": (
            np.array([[10.0, 10.0], [20.0, 10.0], [30.0, 10.0]]),
            np.array([[20.0, 30.0], [40.0, 30.0], [60.0, 30.0]]),
            False,
        ),
        "one part that bends": (np.array([[90.0, 50.0]]), np.array([[120.0, 62.0]]), True),
        "a part that is pulled far": (np.array([[90.0, 100.0]]), np.array([[100.0, 40.0]]), True),
        "a part that goes behind its body": (np.array([[90.0, 60.0]]), np.array([[84.0, 95.0]]), True),
        "a part that bends and turns": (
            np.array([[90.0, 40.0], [90.0, 80.0]]),
            np.array([[125.0, 52.0], [104.0, 84.0]]),
            True,
        ),
        "a part that bends, with a pin": (
            np.array([[90.0, 40.0], [60.0, 80.0]]),
            np.array([[70.0, 30.0], [60.0, 80.0]]),
            True,
        ),
    }


def case(name: str, handles: np.ndarray, targets: np.ndarray, hangs: bool) -> dict[str, Any]:
    kind = transform_kind(handles, targets)
    box = (20, 15, 151, 172)
    if hangs:
        region, root = np.zeros((2, 180, 190), bool)
        for whole, (top, left, bottom, right) in ((region, PART), (root, ROOT)):
            whole[top:bottom, left:right] = True
        places, seen = bent_map(box, region, root, handles, targets, kind)
    else:
        places = fetch_map(box, handles, targets, kind)
        seen = np.ones(places.shape[:2], bool)
    rows, cols = (np.arange(0, side, EVERY) for side in seen.shape)
    points = np.stack(np.meshgrid(np.arange(0, 200, 40.0) + 0.5, np.arange(0, 200, 50.0) + 0.25), -1).reshape(-1, 2)
    return {
        "name": name,
        "kind": kind,
        "handles": handles.tolist(),
        "targets": targets.tolist(),
        "box": list(box),
        "hangs": {"width": 190, "height": 180, "region": list(PART), "root": list(ROOT)} if hangs else None,
        "points": points.tolist(),
        "moved": np.round(deform(points, handles, targets, kind), 4).tolist(),
        "map": [
            [int(col), int(row), *(np.round(places[row, col], 2).tolist() if seen[row, col] else (None, False))]
            for row in rows
            for col in cols
        ],
    }


def several_regions() -> dict[str, Any]:
    """A picture of 120 x 90 that is red by its column and green by its row, so that every pixel says where it is from;
    three squares of it, of which each is moved by drags of its own."""
    moves = [
        ((10, 12, 34, 40), [([20.0, 20.0], [66.0, 14.5])]),
        ((50, 20, 76, 50), [([30.0, 60.0], [30.0, 60.0]), ([45.0, 60.0], [43.0, 67.0])]),
        (
            (40, 80, 60, 104),
            [([82.0, 42.0], [78.0, 58.0]), ([102.0, 58.0], [108.0, 80.0]), ([82.0, 58.0], [78.0, 80.0])],
        ),
    ]
    picture = np.zeros((90, 120, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(120)[None], np.arange(90)[:, None]
    given = []
    for (top, left, bottom, right), drags in moves:
        region = np.zeros((90, 120), bool)
        region[top:bottom, left:right] = True
        given.append((region, [Drag(tuple(source), tuple(target)) for source, target in drags]))
        assert find_root(picture, region) is None
    start = warp_picture(picture, given)
    return {
        "width": 120,
        "height": 90,
        "moves": [{"box": list(box), "drags": drags} for box, drags in moves],
        "kinds": list(start.kinds),
        "landed": [
            [int(x), int(y), *start.picture[y, x, :2].tolist()] for y, x in np.argwhere(start.place > 0.9999)[::4]
        ],
    }


def cases() -> dict[str, Any]:
    return {
        "maps": [case(name, *situation) for name, situation in situations().items()],
        "several_regions": several_regions(),
    }


def written(found: dict[str, Any]) -> str:
    short = functools.partial(json.dumps, separators=(",", ":"))
    maps = ",\n".join(map(short, found["maps"]))
    return f'{{"several_regions":{short(found["several_regions"])},\n"maps":[\n{maps}\n]}}\n'


def test_the_maps_are_what_python_computes():
    kept, now = json.loads(CASES.read_text())["maps"], json.loads(written(cases()))["maps"]
    for one, other in zip(kept, now, strict=True):
        assert {**one, "moved": 0, "map": 0} == {**other, "moved": 0, "map": 0}
        assert np.allclose(one["moved"], other["moved"], atol=1e-3)
        before, after = (np.array(case["map"], float) for case in (one, other))
        # What bends is found in steps, which end at other places on other machines where the map folds.
        assert np.mean(~np.isclose(before, after, atol=0.05, equal_nan=True).all(1)) < 0.005, one["name"]


def test_the_picture_is_what_python_draws():
    kept, now = json.loads(CASES.read_text())["several_regions"], several_regions()
    assert {**kept, "landed": 0} == {**json.loads(json.dumps(now)), "landed": 0}
    assert np.abs(np.array(kept["landed"]) - np.array(now["landed"])).max() <= 1


if __name__ == "__main__":
    CASES.write_text(written(cases()))
