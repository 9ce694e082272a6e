"""The four drags that show what the demonstration model does: for the demo, the tab and whoever begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice

import numpy as np

from ..picture.masks import mask_to_uri
from ..request import Request, make_drags
from .tasks import DragTask, drag_task, toy_of_task

# What is shown: a kind of drag, the figure, and what is said of it.
_SHOWN = (
    ("move", "duck", "a duck moved"),
    ("part", "cat", "a cat's ears raised"),
    ("rotate", "fish", "a fish turned"),
    ("stretch", "house", "a house stretched"),
)


@dataclass(frozen=True)
class Example:
    """A drag on a drawn scene. name: of the figure, also for files and addresses; title: what the drag does; prompt:
    what the scene shows; request: drags, prompt and mask, with the settings left to the model; picture: (S, S, 3)
    uint8 RGB, not writable; task: the same with its known answer.
    """

    name: str
    title: str
    prompt: str
    request: Request
    picture: np.ndarray
    task: DragTask


@lru_cache(maxsize=4)
def examples(seed: int = 0) -> tuple[Example, ...]:
    """A duck moved, a cat's ears raised, a fish turned and a house stretched. seed: which scenes, 0 and up."""
    return tuple(_example(next(islice(_tasks(kind, figure), seed, None)), title) for kind, figure, title in _SHOWN)


def _example(task: DragTask, title: str) -> Example:
    task.image.flags.writeable = False  # kept and shared
    request = Request(make_drags(task.drags), task.caption, mask_to_uri(task.mask > 0))
    return Example(task.scene.toys[0].figure, title, task.caption, request, task.image, task)


def _tasks(kind: str, figure: str) -> Iterator[DragTask]:
    """All tasks of a kind with the figure, large, in one piece and on light ground: what moves should be seen at a
    glance. A cat's ears are always raised."""
    for number in count():
        toy = toy_of_task(number)
        if toy.figure != figure or toy.size != "large" or max(map(abs, toy.shifts[1])) > 0.07:
            continue
        task = drag_task(number, kind)
        if task.scene.ground == "dark":
            continue
        if kind != "part" or task.offset[1] < 0:
            yield task
