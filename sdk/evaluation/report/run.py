"""What a run folder holds, read with patience: whatever in it is damaged is left out and said in a note."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ...batch.folder import FORMAT, MANIFEST, ROWS
from ...batch.tasks import file_name
from ...errors import InputError
from ...request import Drag, make_drags
from .numbers import opening

DIRECTIONS = ("lower", "higher", "one")


@dataclass(frozen=True)
class Metric:
    """What a number means. direction: "lower" or "higher" is better, "one" is best, or None; features: whose, or "";
    pooled: averaged over drags, so that an item weighs by how many it has."""

    name: str
    title: str
    unit: str = ""
    direction: str | None = None
    definition: str = ""
    source: str = ""
    features: str = ""
    pooled: bool = False


@dataclass(frozen=True)
class Row:
    """One item, done by one arm with one seed. error: one sentence where it failed, else "". picture: a path below the
    run's folder, or "". drags: in pixels of the item's picture. metrics: may hold infinities, never NaN. seconds: by
    phase. distance_left: pixels, by the loop's own tracker; None where nobody knows, as peak_memory in bytes.
    """

    item: str
    arm: str
    seed: int
    group: str = ""
    category: str = ""
    error: str = ""
    picture: str = ""
    drags: tuple[Drag, ...] = ()
    prompt: str = ""
    metrics: dict[str, float] | None = None
    reached: bool = False
    stopped: str = ""
    updates: int = 0
    distance_left: float | None = None
    seconds: dict[str, float] | None = None
    peak_memory: float | None = None


@dataclass(frozen=True)
class Run:
    """A run folder.

    question, expected: of an experiment, as they were written before it; else "". planned: how many items there were to
    be, 0 if unknown. notes: what is damaged or missing.
    """

    folder: Path
    title: str
    question: str
    expected: str
    command: str
    created: str
    versions: dict[str, str]
    model: str
    fingerprint: str
    device: str
    arms: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    planned: int
    metrics: dict[str, Metric]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    def picture(self, name: str) -> Path | None:
        """The file of that name below the folder; None where it is not there, or would lie somewhere else."""
        try:
            path = (self.folder / name).resolve()
            inside = path.is_relative_to(self.folder.resolve())
            return path if name and inside and path.is_file() else None
        except (OSError, ValueError):
            return None

    def beside(self, row: Row, name: str) -> str:
        """Which file of that name belongs to the row's item: beside a picture of it, or where it would be."""
        pictures = [other.picture for other in (row, *self.rows) if other.item == row.item and other.picture]
        for place in dict.fromkeys(PurePosixPath(picture).parent for picture in pictures):
            if self.picture(str(place / name)) is not None:
                return str(place / name)
        return f"pictures/{file_name(row.item)}/{name}"


def read_run(folder: Path) -> Run:
    """Read RUN/manifest.json and RUN/rows.jsonl. Raises InputError where there is no run, or no row in it."""
    manifest = _manifest(folder)
    rows, notes = _rows(folder)
    arms = {str(name): _mapping(settings) for name, settings in _mapping(manifest.get("arms")).items()}
    unknown = list(dict.fromkeys(row.arm for row in rows if row.arm not in arms))
    if unknown and arms:
        notes.append(f"The manifest does not know these arms, whose settings are not shown: {', '.join(unknown)}.")
    arms |= {name: {} for name in unknown}
    model = _mapping(manifest.get("model"))
    planned, seeds = manifest.get("items"), manifest.get("seeds")
    return Run(
        folder=folder,
        title=_text(manifest.get("title")) or folder.resolve().name,
        question=_text(manifest.get("question")),
        expected=_text(manifest.get("expected")),
        command=_text(manifest.get("command")),
        created=_text(manifest.get("created")),
        versions={str(name): _text(version) for name, version in _mapping(manifest.get("versions")).items()},
        model=_text(model.get("name")),
        fingerprint=_text(model.get("fingerprint")),
        device=_text(manifest.get("device")),
        arms=arms,
        seeds=tuple(s for s in seeds if isinstance(s, int)) if isinstance(seeds, list) else (),
        planned=planned if isinstance(planned, int) and planned > 0 else 0,
        metrics=_metrics(manifest, rows),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        text = path.read_bytes().decode("utf-8", "replace")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{folder} is not a run folder: its manifest.json cannot be read ({reason}); give a folder that "
            "`dragtext bench` wrote."
        ) from None
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError):
        manifest = None
    if not isinstance(manifest, dict):
        raise InputError(f"{path} is damaged, it holds no JSON object; run the same command again to mend it.")
    found = manifest.get("format")
    if found != FORMAT or isinstance(found, bool):
        raise InputError(
            f"{path} is of the format {json.dumps(found)[:40]} and this DragText reads format {FORMAT}; update "
            "DragText or make the run again."
        )
    return manifest


def _rows(folder: Path) -> tuple[list[Row], list[str]]:
    path = folder / ROWS
    try:
        lines = path.read_bytes().decode("utf-8", "replace").split("\n")
    except (OSError, ValueError):
        lines = []
    found: dict[tuple[str, str, int], Row] = {}
    damaged: list[int] = []
    cut = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        row = _row(line)
        if row is not None:
            found[row.item, row.arm, row.seed] = row  # what came later wins, where the first one stood
        elif number == len(lines):
            cut = True
        else:
            damaged.append(number)
    notes = []
    if damaged:
        shown = ", ".join(str(number) for number in damaged[:8]) + (", ..." if len(damaged) > 8 else "")
        what = f"{len(damaged)} lines" if len(damaged) > 1 else "One line"
        notes.append(f"{what} of rows.jsonl cannot be read and count nowhere ({shown}).")
    if cut:
        notes.append("The last line of rows.jsonl is cut short, so the run is still going on or was stopped.")
    if not found:
        left = f" ({' '.join(notes)})" if notes else ""
        raise InputError(f"The run {folder} has no finished item yet{left}; give its command again to go on with it.")
    return list(found.values()), notes


def _row(line: str) -> Row | None:
    """None for a line that is no row."""
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or not all(isinstance(raw.get(n), str) and raw[n] for n in ("item", "arm")):
        return None
    seed, updates = raw.get("seed", 0), _number(raw.get("updates"))
    if not isinstance(seed, int):
        return None
    return Row(
        item=raw["item"],
        arm=raw["arm"],
        seed=int(seed),
        group=_text(raw.get("group")) or raw["item"],
        category=_text(raw.get("category")),
        error=_text(raw.get("error")),
        picture=_text(raw.get("picture")),
        drags=_drags(raw.get("drags")),
        prompt=_text(raw.get("prompt")),
        metrics=_numbers(raw.get("metrics")),
        reached=raw.get("reached") is True,
        stopped=_text(raw.get("stopped")),
        updates=int(updates) if updates is not None and math.isfinite(updates) else 0,
        distance_left=_number(raw.get("distance_left")),
        seconds=_numbers(raw.get("seconds")),
        peak_memory=_number(raw.get("peak_memory")),
    )


def _metrics(manifest: dict[str, Any], rows: list[Row]) -> dict[str, Metric]:
    """Those of the manifest, then those that only rows know."""
    known: dict[str, Metric] = {}
    for name, raw in _mapping(manifest.get("metrics")).items():
        told, direction = _mapping(raw), _mapping(raw).get("direction")
        known[str(name)] = Metric(
            name=str(name),
            title=opening(_text(told.get("title")) or str(name)),
            unit=_text(told.get("unit")),
            direction=direction if direction in DIRECTIONS else None,
            definition=_text(told.get("definition")),
            source=_text(told.get("source")),
            features=_text(told.get("features")),
            pooled=told.get("pooled") is True,
        )
    for row in rows:
        for name in row.metrics or ():
            known.setdefault(name, Metric(name, opening(name), definition="The manifest does not define it."))
    return known


def _drags(raw: Any) -> tuple[Drag, ...]:
    try:
        return make_drags(raw)
    except (TypeError, ValueError, InputError):
        return ()


def _mapping(raw: Any) -> dict[Any, Any]:
    return raw if isinstance(raw, dict) else {}


def _text(raw: Any) -> str:
    return "" if raw is None or isinstance(raw, (dict, list)) else str(raw)


def _numbers(raw: Any) -> dict[str, float]:
    found = {str(name): _number(value) for name, value in _mapping(raw).items()}
    return {name: value for name, value in found.items() if value is not None}


def _number(raw: Any) -> float | None:
    if isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, (int, float)):
        return None
    try:
        value = float(raw)
    except OverflowError:
        return None
    return None if math.isnan(value) else value
