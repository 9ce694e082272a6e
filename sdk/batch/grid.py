"""One edit over a grid of settings: the edits of a run, and what they come to as a table and a contact sheet."""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import InputError
from ..picture.drawing import contact_sheet, thumbnail
from ..picture.files import write_atomically, write_picture
from ..picture.reading import LoadedImage, load_image
from ..request import Request
from ..settings import Settings, catalogue, given_settings, make_settings, setting_names
from .tasks import Key, RequestSource, Task, file_name

MAX_CELLS = 400


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """`name=value,value,...`, values as JSON where they are, else text. Raises InputError."""
    name, _, values = text.partition("=")
    name = name.strip().replace("-", "_")
    if name not in setting_names():
        known = ", ".join(setting_names())
        raise InputError(f"--vary {text}: there is no setting '{name}'; the settings are: {known}.")
    if any(info.name == name and info.kind == "text" for info in catalogue()):
        return name, list(dict.fromkeys(value.strip() for value in values.split(",")))
    parsed = []
    for value in values.split(","):
        try:
            parsed.append(json.loads(value))
        except ValueError:
            parsed.append(value.strip())
    if "" in parsed:
        raise InputError(f"--vary {text} has an empty value; write it like --vary text_weight=0,0.1,1.")
    return name, [value for number, value in enumerate(parsed) if value not in parsed[:number]]


@dataclass(frozen=True)
class Cell:
    """varied: the settings that vary and their values here; task: the edit."""

    varied: Mapping[str, Any]
    task: Task


def cells(
    axes: Sequence[tuple[str, list[Any]]],
    image: Path,
    loaded: LoadedImage,
    request: Request,
    *,
    how: str = "",
    together: bool = True,
) -> tuple[Cell, ...]:
    """All combinations, the last axis fastest, as the edits of a run.

    image: the picture's file, and what was read from it; request: with its masks inside; how: what else the edits
    depend on, as the model's precision. together: one worker does all of them and pays for the picture's preparation
    once, or any number of workers take one after the other. Raises InputError for what cannot be.
    """
    if not axes:
        raise InputError("There is nothing to vary; give --vary, for example --vary method=gooddrag,dragdiffusion.")
    # The item knows everything besides what varies, so a changed request does not meet old results.
    asked = request.to_json() + loaded.fingerprint + how
    item = f"{file_name(image.stem)[:60]}-{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
    source = RequestSource(image.absolute(), request)
    found = []
    for values in product(axes):
        settings = make_settings(values, request.settings)  # a wrong value is refused before a model loads
        arm = ",".join(f"{name}={value}" for name, value in values.items())
        task = Task(item, item if together else f"{item} {arm}", arm, settings.seed, source, _without_seed(settings))
        found.append(Cell(values, task))
    return tuple(found)


def _without_seed(settings: Settings) -> dict[str, Any]:
    return {name: value for name, value in given_settings(settings).items() if name != "seed"}


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


def table(cells: Sequence[Cell], rows: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What is done, in the grid's order: what varies, and how it went."""
    done = [(cell.varied, rows[cell.task.key]) for cell in cells if cell.task.key in rows]
    kept = ("distance_left", "reached", "stopped", "updates")
    return [
        {
            **varied,
            **{name: row[name] for name in kept if name in row},
            **({"seconds": sum(row["seconds"].values())} if "seconds" in row else {}),
            "picture": row["picture"],
            "error": row["error"],
        }
        for varied, row in done
    ]


def _write_json(path: Path, content: Any) -> None:
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(content, indent=1), encoding="utf-8"))


def write_tables(
    folder: Path, rows: list[dict[str, Any]], original: np.ndarray, varied: list[str], columns: int
) -> None:
    """table.json, table.csv and contact.png. rows: of `table`; original: (H, W, 3) uint8; columns: of the sheet."""
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
        if row["picture"] and (folder / row["picture"]).is_file():  # somebody may have deleted it
            picture = thumbnail(load_image(folder / row["picture"]).visible)
        pictures.append(picture)
        labels.append(" ".join(f"{name} {row[name]}" for name in varied) + (" (failed)" if row["error"] else ""))
    write_picture(folder / "contact.png", Image.fromarray(contact_sheet(pictures, labels, columns)), "PNG")
