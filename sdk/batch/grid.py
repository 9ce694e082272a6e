"""One edit over a grid of settings: a table as CSV and JSON, a labelled contact sheet; a stopped run can go on."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..editor import Editor, OnProgress, ShouldStop
from ..errors import DragTextError, InputError, InterruptedEditError
from ..picture.drawing import contact_sheet, thumbnail
from ..picture.files import write_atomically, write_picture
from ..picture.masks import mask_to_uri
from ..picture.reading import load_image
from ..request import Request
from ..settings import Settings, as_dict, make_settings, setting_names

MAX_CELLS = 400


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`name=value,value,...`, values as JSON where they are, else text. Raises InputError."""
    name, _, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in setting_names():
        known = ", ".join(setting_names())
        raise InputError(f"--vary {text}: there is no setting '{name}'; the settings are: {known}.")
    parsed = []
    for value in values.split(","):
        try:
            parsed.append(json.loads(value))
        except ValueError:
            parsed.append(value.strip())
    if "" in parsed:
        raise InputError(f"--vary {text} has an empty value; write it like --vary text_weight=0,0.1,1.")
    return name, parsed


def cells(axes: Sequence[tuple[str, list[Any]]], base: Settings) -> list[tuple[dict[str, Any], Settings]]:
    """All combinations, the last axis fastest: what varies, and the settings, checked before anything runs."""
    if not axes:
        raise InputError("There is nothing to vary; give --vary, for example --vary method=gooddrag,dragdiffusion.")
    return [(values, make_settings(values, base)) for values in product(axes)]


def product(axes: Sequence[tuple[str, list[Any]]]) -> list[dict[str, Any]]:
    """All combinations, the last axis fastest; without an axis none. Raises InputError for too many."""
    if not axes:
        return []
    names = [name for name, _ in axes]
    if len(set(names)) < len(names):
        raise InputError("A setting is varied twice; give each --vary once.")
    combinations = list(itertools.product(*(values for _, values in axes)))
    if len(combinations) > MAX_CELLS:
        raise InputError(f"The grid has {len(combinations)} edits; the most is {MAX_CELLS}.")
    return [dict(zip(names, combination)) for combination in combinations]


def run_grid(
    editor: Editor,
    request: Request,
    mask: np.ndarray | None,
    axes: Sequence[tuple[str, list[Any]]],
    folder: Path,
    *,
    on_cell: Callable[[int, int, dict[str, Any]], None] | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
) -> list[dict[str, Any]]:
    """Run every cell that `folder` does not hold yet and write table.csv, table.json and contact.png there.

    on_cell: called before each edit with (number, cells in all, what varies). A cell that fails becomes a row with its
    error. Once `should_stop` says so, the edit in hand is dropped, the table holds what is done, and
    InterruptedEditError is raised; the same call goes on from there. So it does after InputError, for a file that
    cannot be written.
    """
    grid = cells(axes, request.settings)
    rows: list[dict[str, Any]] = []
    ending: DragTextError | None = None
    painted, fingerprint = None if mask is None else mask_to_uri(mask), editor.fingerprint
    for number, (varied, settings) in enumerate(grid):
        # The name knows everything that the picture depends on, so a changed request does not meet old results.
        identity = replace(request, settings=settings, mask=painted).to_json() + fingerprint
        name = f"{number:03d}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
        row = _stored(folder, name)
        if row is None:
            if on_cell:
                on_cell(number, len(grid), varied)
            try:
                asked = replace(request, settings=settings)
                row = varied | _edit(editor, asked, mask, folder, name, on_progress, should_stop)
                if not row["error"]:  # a failure may be one of the moment, so it is tried again
                    _write_json(folder / f"{name}.json", row)
            except DragTextError as error:  # a stop, or a file that cannot be written: no cell after it would do better
                ending = error
                break
        rows.append(row)
    try:
        _write_tables(folder, rows, editor.picture, [name for name, _ in axes], columns=len(axes[-1][1]))
    except InputError as error:
        ending = ending or error  # what failed first says more
    if isinstance(ending, InterruptedEditError):
        raise InterruptedEditError(
            f"Stopped after {len(rows)} of {len(grid)} edits; the same command goes on from there."
        )
    if ending is not None:
        raise ending
    return rows


def _edit(
    editor: Editor,
    request: Request,
    mask: np.ndarray | None,
    folder: Path,
    name: str,
    on_progress: OnProgress | None,
    should_stop: ShouldStop | None,
) -> dict[str, Any]:
    """One cell: its picture in the folder, and its row without what varies."""
    try:
        result = editor.drag(
            request.drags,
            mask=mask,
            region=request.region,
            settings=request.settings,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    except InterruptedEditError:
        raise
    except DragTextError as error:
        return {"picture": "", "error": str(error)}
    if result.stopped == "interrupted":
        raise InterruptedEditError("The edit was stopped.")
    result.save(folder / f"{name}.png")
    return {
        "picture": f"{name}.png",
        "error": "",
        "distance_left": float(np.mean([drag.distance_after for drag in result.drags])),
        "reached": result.reached,
        "stopped": result.stopped,
        "updates": result.steps,
        "seconds": sum(result.timings.values()),
        "settings": as_dict(result.settings),
    }


def _stored(folder: Path, name: str) -> dict[str, Any] | None:
    """The row of a cell that an earlier run finished; None where there is none that can be read."""
    try:
        row = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        return row if isinstance(row, dict) and (folder / row["picture"]).is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1), encoding="utf-8"))


def _write_tables(
    folder: Path, rows: list[dict[str, Any]], original: np.ndarray, varied: list[str], columns: int
) -> None:
    _write_json(folder / "table.json", rows)
    names = [*varied, "distance_left", "reached", "stopped", "updates", "seconds", "picture", "error"]

    def write(path: Path) -> None:
        with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows(rows)

    write_atomically(folder / "table.csv", write)
    pictures, labels = [thumbnail(original)], ["original"]
    for row in rows:
        picture = np.zeros_like(pictures[0])
        if row["picture"]:
            picture = thumbnail(load_image(folder / row["picture"]).visible)
        pictures.append(picture)
        labels.append(" ".join(f"{name} {row[name]}" for name in varied) + (" (failed)" if row["error"] else ""))
    write_picture(folder / "contact.png", Image.fromarray(contact_sheet(pictures, labels, columns)), "PNG")
