"""How long the phases of an edit take."""

from __future__ import annotations

import time

import torch


class Clock:
    """seconds: by phase, without what passes between `pause` and `go_on`."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = {}
        self._device = device
        self._phase: str | None = None
        self._since: float | None = None

    def begin(self, phase: str) -> None:
        if self._device.type == "cuda":  # what the last phase has only queued is still its work
            torch.cuda.synchronize(self._device)
        self.pause()
        self._phase = phase
        self.go_on()

    def go_on(self) -> None:
        self._since = time.perf_counter()

    def pause(self) -> None:
        if self._phase is not None and self._since is not None:
            spent = time.perf_counter() - self._since
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + spent
        self._since = None
