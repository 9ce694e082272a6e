"""Does the edits of a run: one model on one device, a picture's preparation paid once for all edits of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image

from ..editor import Editor
from ..errors import DragTextError, one_line
from ..model.base import DiffusionModel
from ..model.load import load_model
from ..model.memory import memory_errors
from ..picture.files import save_image, write_picture
from ..result import EditResult
from ..settings import Settings
from .folder import RunFolder
from .tasks import Group, Opened, Source, Task

log = logging.getLogger("dragtext")

Row = dict[str, Any]
OnRow = Callable[[Row], None]
ShouldStop = Callable[[], bool]


class Judge(Protocol):
    """Measures what came out; travels to other processes."""

    def __call__(
        self, model: DiffusionModel, task: Task, opened: Opened, edited: np.ndarray, original: np.ndarray
    ) -> dict[str, float]:
        """edited, original: (H, W, 3) uint8. By the metric's name; what does not apply is left out."""
        ...


@dataclass(frozen=True)
class Plan:
    """What every worker of a run has in common; travels to other processes.

    folder: of the run. model: arguments of `load_model`, but for the device. threads: of torch in each worker, None
    leaves them as they are.
    """

    folder: Path
    model: Mapping[str, Any] = field(default_factory=dict)
    judge: Judge | None = None
    threads: int | None = None


class Worker:
    """A model on a device, and what it does with a group."""

    def __init__(self, plan: Plan, device: str | None = None) -> None:
        if plan.threads:
            torch.set_num_threads(plan.threads)
        self.plan, self.folder = plan, RunFolder(plan.folder)
        with memory_errors():
            self.model = load_model(**plan.model, device=device)
        facts = {"name": self.model.name, "fingerprint": self.model.fingerprint}
        self.folder.confirm(facts, str(self.model.device))

    def do(self, group: Group, on_row: OnRow, should_stop: ShouldStop) -> bool:
        """Do what is not done of a group and not in other hands; False where it is in other hands.

        Once `should_stop` says so, the edit in hand is finished and no other begun. An edit that fails becomes a row
        with its error. Raises InputError where the run's folder cannot be written.
        """
        with self.folder.claim(group.name) as ours:
            if not ours:
                return False
            done = self.folder.done()  # read when nobody else can add to this group
            bench = _Bench(self.model)
            for task in group.tasks:
                if task.key in done:
                    continue
                if should_stop():
                    break
                row = self._row(task, bench)
                self.folder.add(row)
                on_row(row)
        return True

    def _row(self, task: Task, bench: _Bench) -> Row:
        row: Row = {"item": task.item, "group": task.group, "category": task.category, "arm": task.arm}
        row |= {"seed": task.seed, "error": "", "picture": ""}
        try:
            opened = bench.open(task.source)
            row |= {"prompt": opened.prompt, "drags": [[list(d.source), list(d.target)] for d in opened.drags]}
            result = bench.drag(task, opened)
            row |= self._keep(task, opened, result, bench.picture)
        except DragTextError as error:
            row["error"] = str(error)
        except Exception as error:  # one edit of thousands must not end the run; its row says what happened
            log.warning("%s by %s failed.", task.item, task.arm, exc_info=True)
            row["error"] = one_line(f"{type(error).__name__}: {error}")
        return row

    def _keep(self, task: Task, opened: Opened, result: EditResult, original: np.ndarray) -> Row:
        """Write the pictures; the rest of the row."""
        for name, picture in (("original.png", original), ("truth.png", opened.truth)):
            path = self.folder.beside(task.item, name)
            if picture is not None and not path.exists():
                write_picture(path, Image.fromarray(picture), "PNG")
        image = result.image if task.at is None else result.at(task.at)
        path = save_image(image, self.folder.picture(task), result.request)
        edited, judge = np.asarray(image.convert("RGB")), self.plan.judge
        return {
            "picture": path.relative_to(self.folder.path).as_posix(),
            "metrics": {} if judge is None else judge(self.model, task, opened, edited, original),
            "reached": result.reached,
            "stopped": result.stopped,
            "updates": result.steps,
            "distance_left": float(np.mean([drag.distance_after for drag in result.drags])),
            "seconds": {name: round(value, 4) for name, value in result.timings.items()},
            "peak_memory": result.peak_memory or None,
        }


class _Bench:
    """What lies open: a group's picture, what was opened last, and the edit that was made last, since several tasks may
    keep several points of its way.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self._model = model
        self._editor: Editor | None = None
        self._opened: tuple[Source, Opened] | None = None
        self._last: tuple[Source, Settings, EditResult] | None = None

    def open(self, source: Source) -> Opened:
        if self._opened is None or self._opened[0] != source:
            self._opened = source, source.open()
        return self._opened[1]

    def drag(self, task: Task, opened: Opened) -> EditResult:
        if self._last is not None and self._last[:2] == (task.source, task.asked):
            return self._last[2]
        if self._editor is None:
            self._editor = Editor(self._model, opened.image, opened.prompt)
        result = self._editor.drag(opened.drags, mask=opened.mask, region=opened.region, settings=task.asked)
        self._last = task.source, task.asked, result
        return result

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8, of the edit that was made last."""
        assert self._editor is not None  # it has made one
        return self._editor.picture


def undone(folder: RunFolder, groups: Sequence[Group]) -> tuple[Group, ...]:
    """Groups with something left to do."""
    done = folder.done()
    return tuple(group for group in groups if any(task.key not in done for task in group.tasks))
