"""One edit and what is known of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..sdk.errors import DragTextError
from ..sdk.picture.reading import LoadedImage
from ..sdk.request import Request
from ..sdk.result import EditResult

State = Literal["queued", "running", "done", "failed", "interrupted"]


@dataclass
class Job:
    """One edit and what is known of it. Written by the worker, read by anyone.

    picture: the opened image; request: drags, prompt, settings; mask: (H, W) bool or None. points: where the handles
    are, (x, y) pixels of the picture; version: counts the previews. result, fingerprint (of the model), infotext,
    saved, note (what else there is to say): at the end. eta: seconds left of the running phase.
    """

    id: str
    picture: LoadedImage
    request: Request
    mask: np.ndarray | None
    save: bool = True
    state: State = "queued"
    phase: str = "waiting"
    step: int = 0
    total: int = 0
    distance: float | None = None
    points: tuple[tuple[float, float], ...] = ()
    preview: Image.Image | None = None
    version: int = 0
    error: DragTextError | None = None
    result: EditResult | None = None
    fingerprint: str = ""
    infotext: str = ""
    saved: Path | None = None
    note: str = ""
    phase_started: float = 0.0
    stop: bool = False
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def eta(self) -> float | None:
        if self.state != "running" or not self.step or not self.total:
            return None
        return (time.time() - self.phase_started) / self.step * (self.total - self.step)
