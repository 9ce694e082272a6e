"""A strip: many points of a finished edit's way, rendered in advance, so that a slider finds them there.

One point a turn of the host's, in the order that was asked for: whatever somebody waits for goes in between, and the
strip goes on by itself afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..sdk.errors import InputError
from ..sdk.render.rendering import check_point
from .job import AHEAD, EditJob, Job
from .pictures import jpeg_of, small

MOST_POINTS = 64
SIDE = 2048  # of a frame, as of a picture's view


@dataclass(eq=False)
class StripJob(Job):
    """edit: the finished edit; points: (v of the image, v of the text) of each frame; frames: JPEG files, as many as
    there are so far."""

    edit: EditJob = field(kw_only=True)
    points: tuple[tuple[float, float], ...] = ()
    frames: list[bytes] = field(default_factory=list)

    kind = "strip"
    rank = AHEAD

    @property
    def origin(self) -> EditJob:
        return self.edit

    @property
    def unfinished(self) -> bool:
        return len(self.frames) < len(self.points)

    @property
    def result_bytes(self) -> int:
        return sum(map(len, self.frames))

    def render(self, point: Callable[[Job, tuple[float, float]], Image.Image]) -> None:
        """The next frame. point: renders one (`Editing.point`)."""
        self.frames.append(jpeg_of(small(point(self, self.points[len(self.frames)]), SIDE)))


def read_points(values: Any) -> tuple[tuple[float, float], ...]:
    """A list of v, or of [v, text]. Raises InputError."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not 1 <= len(values) <= MOST_POINTS:
        raise InputError(f"v is a list of 1 to {MOST_POINTS} numbers, or pairs of numbers for image and text.")
    for value in values:
        for part in value if isinstance(value, list) else (value,):
            if isinstance(part, (bool, str)):
                raise InputError("v holds numbers, or pairs of numbers for image and text.")
    return tuple(check_point(value) for value in values)
