"""What a loop still adds behind a warped start: drags that a start alone cannot get right, five ways to do each.

    python benchmarks/study.py results.jsonl             # goes on where it was stopped; a JSON line per drag and arm
    python benchmarks/study.py results.jsonl --report    # means, and paired differences with 95 % intervals

Kinds of tasks, all on scenes that no training saw and with known answers:

    attached    a part in front of its body (a head, a bloom, a cap, a sail) is moved
    growth      a part behind its body (ears, a tail, a chimney, a cabin) is pulled out: what was hidden must be made
    occlusion   such a part is pushed in: some of it must go
    too small   a whole figure is moved, whose region was painted 4 px too small
    too large   the same, painted 4 px too large
    wrong       a part is moved, by a drag that ends 3 px from where it should

The region is found, but for the two kinds where it is given. Arms: the warped start alone; GoodDrag alone, and behind
the start, each with text optimisation and without. Every arm sees the same tasks, so differences are paired. The loops
are given few updates (`LOOP`), so that many tasks fit into the time that there is.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from dragtext import sdk
from dragtext.sdk.evaluation.movement import measure
from dragtext.sdk.evaluation.statistics import paired
from dragtext.sdk.evaluation.suited import loop_settings
from dragtext.sdk.evaluation.tasks import DragTask, drag_task, toy_of_task
from dragtext.sdk.settings import Settings

KINDS = ("attached", "growth", "occlusion", "too small", "too large", "wrong")
TEXT = ", text"
ARMS = ("warp", "loop", f"loop{TEXT}", "warp and loop", f"warp and loop{TEXT}")
LOOP: dict[str, Any] = {"drag_levels": 4, "tracks_per_level": 2}
FIRST = 200  # numbers of tasks before this one are those of benchmarks/toybox.py
WRONG, MISPAINTED = 3.0, 4  # pixels
_BEHIND = ("cat", "fish", "house", "car")  # whose movable parts are drawn before the body


@dataclass(frozen=True)
class Item:
    """A drag to be done: the task with its answer, what the user asks for, and the region that was painted, if any."""

    number: int
    task: DragTask
    drags: tuple
    region: np.ndarray | None


def items(kind: str) -> Iterator[Item]:
    """All items of a kind, in an order of their own."""
    for number in count(FIRST):
        behind = toy_of_task(number).figure in _BEHIND
        if kind in ("too small", "too large"):
            task = drag_task(number, "move")
            brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * MISPAINTED + 1,) * 2)
            change = cv2.erode if kind == "too small" else cv2.dilate
            yield Item(number, task, task.drags, change(task.before.astype(np.uint8), brush) > 0)
        elif kind == "wrong":
            task = drag_task(number, "part")
            way = np.random.default_rng([number, 3]).uniform(0, 2 * np.pi)
            off = (WRONG * float(np.cos(way)), WRONG * float(np.sin(way)))
            yield Item(number, task, tuple((a, (b[0] + off[0], b[1] + off[1])) for a, b in task.drags), None)
        elif behind != (kind == "attached"):
            task = drag_task(number, "part")
            if kind == "attached" or pulled_out(task) == (kind == "growth"):
                yield Item(number, task, task.drags, None)


def pulled_out(task: DragTask) -> bool:
    """Whether more of the part is seen afterwards."""
    return bool(task.after.sum() > task.before.sum())


def settings_of(arm: str, task: DragTask) -> Settings:
    if arm == "warp":
        return Settings()  # the model's own
    start = {"start": "warp", "repaint": "mask"} if "warp" in arm else {}
    return loop_settings("gooddrag", task.kind, text="text" in arm, **LOOP, **start)


def run(path: Path, most: int, kinds: Sequence[str], arms: Sequence[str]) -> None:
    """Do what is not in the file yet, the first of every kind before the second of any."""
    done = {(line["kind"], line["number"], line["arm"]) for line in read(path)}
    model = sdk.load_model()
    streams = {kind: items(kind) for kind in kinds}
    for _ in range(most):
        for kind in kinds:
            item = next(streams[kind])
            editor = sdk.Editor(model, item.task.image, item.task.caption)
            for arm in arms:
                if (kind, item.number, arm) not in done:
                    line = {"kind": kind, "number": item.number, "arm": arm, **outcome(editor, item, arm)}
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(line) + "\n")


def outcome(editor: sdk.Editor, item: Item, arm: str) -> dict[str, Any]:
    """What became of an item; seconds are those of the processor, since the machine may be shared."""
    began = time.process_time()
    settings = settings_of(arm, item.task)
    result = editor.drag(item.drags, mask=item.task.mask, region=item.region, settings=settings)
    spent = time.process_time() - began
    moved = measure(item.task, np.array(result.image))
    way = moved.fraction if moved.part_fraction is None else moved.part_fraction
    return {
        "remains": moved.remaining_error,
        "way": way,
        "updates": result.steps,
        "stopped": result.stopped,
        "seconds": spent,
    }


def read(path: Path) -> list[dict[str, Any]]:
    """The lines so far; one that was cut short is done anew."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


def report(lines: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Rows of a table in Markdown: only items that every arm has seen count."""
    yield "| kind (items) | arm | remains | less `warp`'s | with text less without | way | seconds |"
    yield "|---|---|---|---|---|---|---|"
    for kind in KINDS:
        tables = [_table(lines, kind, arm) for arm in ARMS]
        numbers = sorted(set(tables[0]).intersection(*tables[1:]))
        if not numbers:
            continue
        remains = {arm: _column(table, numbers, "remains") for arm, table in zip(ARMS, tables)}
        for arm, table in zip(ARMS, tables):
            less = "" if arm == "warp" else f"{paired(remains['warp'], remains[arm]):+.3f}"
            text = f"{paired(remains[arm[: -len(TEXT)]], remains[arm]):+.3f}" if TEXT in arm else ""
            way, seconds = (float(_column(table, numbers, name).mean()) for name in ("way", "seconds"))
            kept = f"{remains[arm].mean():.2f} | {less} | {text} | {way:.2f} | {seconds:.1f}"
            yield f"| {kind} ({len(numbers)}) | {arm} | {kept} |"


def _table(lines: Sequence[dict[str, Any]], kind: str, arm: str) -> dict[int, dict[str, Any]]:
    return {line["number"]: line for line in lines if (line["kind"], line["arm"]) == (kind, arm)}


def _column(table: dict[int, dict[str, Any]], numbers: Sequence[int], name: str) -> np.ndarray:
    return np.array([table[number][name] for number in numbers], float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the file of JSON lines to go on with")
    parser.add_argument("--count", type=int, default=40, help="items of each kind")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--report", action="store_true", help="say what the file holds, and do nothing")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.report:
        run(arguments.results, arguments.count, arguments.kinds.split(","), ARMS)
    print("\n".join(report(read(arguments.results))))


if __name__ == "__main__":
    main()
