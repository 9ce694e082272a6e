"""Jobs: an edit, or a finished edit rendered at another point; what was asked for and what is known of it.

A strip of such points is a job, too (strips.py).
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from PIL import Image

from ..sdk.errors import DragTextError
from ..sdk.request import Point, Request
from ..sdk.result import EditResult
from .estimate import Estimate
from .limits import bytes_of
from .pictures import Picture

State = Literal["queued", "running", "done", "failed", "interrupted"]
# Who goes first, and interrupts what comes behind it: what somebody asked for, what only shows how it would be, and
# what is made in advance.
ASKED, QUICK, AHEAD = 0, 1, 2
MOST_SHOTS = 48


@dataclass(eq=False)
class Job:
    """What every job has. Written by the worker, read by anyone.

    id: of the job; owner: the page that asked, empty for a script; save: also write it where the host saves; created:
    seconds since 1970. phase, step, total: what is being done; stop: it shall end; gives_way: to one that goes first.
    At the end: image, infotext, saved, note (what else there is to say), or error.
    """

    id: str
    request: Request
    save: bool = True
    owner: str = ""
    state: State = "queued"
    phase: str = "waiting"
    step: int = 0
    total: int = 0
    error: DragTextError | None = None
    image: Image.Image | None = None
    infotext: str = ""
    saved: Path | None = None
    note: str = ""
    stop: bool = False
    gives_way: bool = False
    created: float = field(default_factory=time.time)
    ended: threading.Event = field(default_factory=threading.Event)

    kind = "job"
    rank = ASKED

    @property
    def origin(self) -> EditJob:
        """The edit that this is, or is a point of."""
        raise NotImplementedError

    @property
    def unfinished(self) -> bool:
        """There is more to do, at another turn."""
        return False

    @property
    def v(self) -> tuple[float, float]:
        """The point of the way that `image` shows, (of the image, of the text)."""
        return 1.0, 1.0

    @property
    def waiting_bytes(self) -> int:
        """What it holds of others' files."""
        return 0

    @property
    def result_bytes(self) -> int:
        """What its outcome holds in memory."""
        return bytes_of(self.image)

    def release(self) -> None:
        """Let go of what only the work needed."""


@dataclass(eq=False)
class EditJob(Job):
    """An edit.

    picture: what is edited, let go where there is no result; quick: only to show how it would be. points: where the
    handles are, (x, y) pixels of the picture; distance: their mean distance to the targets; curve: distance and loss
    of every step; preview: the picture so far; version: counts the previews; shots: some of them as JPEG files, with
    the points. result, fingerprint (of the model): at the end.
    """

    picture: Picture | None = None
    quick: bool = False
    distance: float | None = None
    points: tuple[Point, ...] = ()
    curve: list[tuple[float, float | None]] = field(default_factory=list)
    preview: Image.Image | None = None
    version: int = 0
    shots: list[tuple[tuple[Point, ...], bytes]] = field(default_factory=list)
    result: EditResult | None = None
    fingerprint: str = ""
    estimate: Estimate = field(default_factory=Estimate)

    kind = "edit"

    @property
    def rank(self) -> int:  # type: ignore[override]
        return QUICK if self.quick else ASKED

    @property
    def origin(self) -> EditJob:
        return self

    @property
    def eta(self) -> float | None:
        """Seconds left of the edit, None while nothing is known."""
        return self.estimate.seconds() if self.state == "running" else None

    @property
    def waiting_bytes(self) -> int:
        if self.picture is None:
            return 0
        regions = self.request.region or ()
        texts = (self.request.mask or "", *([regions] if isinstance(regions, str) else regions))
        return len(self.picture.data) + sum(map(len, texts))

    @property
    def result_bytes(self) -> int:
        if self.result is None:
            return 0
        rendering = self.result.rendering
        identity = [part for pair in rendering.identity.values() for part in pair]
        held = bytes_of(self.image, self.preview, self.result.trajectory, *vars(rendering).values(), *identity)
        return held + self.waiting_bytes + sum(len(shot) for _, shot in self.shots)

    def keep_preview(self, preview: Image.Image, file: bytes) -> None:
        """The picture so far, which is seen now and in an animation; file: it as JPEG."""
        self.preview, self.version = preview, self.version + 1
        self.shots.append((self.points, file))
        if len(self.shots) > MOST_SHOTS:
            del self.shots[1::2]

    def release(self) -> None:
        if self.result is None:
            self.request = replace(self.request, mask=None, region=None)
            self.picture = self.preview = None
            self.shots.clear()


@dataclass(eq=False)
class RenderJob(Job):
    """A finished edit at another point of its way. edit: the edit; at: (v of the image, v of the text)."""

    edit: EditJob = field(kw_only=True)
    at: tuple[float, float] = (1.0, 1.0)

    kind = "render"

    @property
    def origin(self) -> EditJob:
        return self.edit

    @property
    def v(self) -> tuple[float, float]:
        return self.at
