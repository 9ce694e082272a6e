"""What a loop tells the host, and what the host sends: one wait an iteration, and that one late where the device works
by itself.

While the host looks at one iteration the device has the next one to do, so it never stands still. An iteration that
turns out to be one too many is thrown away: whatever the loop yields is what it would be without the delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

Item = TypeVar("Item")


def runs_ahead(device: torch.device) -> bool:
    """Whether work is only queued when a call returns. On the CPU it is done, and reading costs nothing."""
    return device.type != "cpu"


def number_type(device: torch.device) -> torch.dtype:
    """float64 wherever the device surely has it."""
    return torch.float64 if device.type in ("cpu", "cuda") else torch.float32


def send(values: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU on the device, without waiting for what is queued there."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


class Reading:
    """Tensors on their way to the host, by name. Making one does not wait; `take` does, once."""

    def __init__(self, **values: Tensor) -> None:
        self._shapes = {name: value.shape for name, value in values.items()}
        first = next(iter(values.values()))
        kind = number_type(first.device)
        packed = torch.cat([value.detach().reshape(-1).to(kind) for value in values.values()])
        self._arrived: torch.cuda.Event | None = None
        if packed.device.type == "cuda":
            # Into pinned memory: only such a copy is queued like everything else.
            self._packed = torch.empty(packed.shape, dtype=kind, device="cpu", pin_memory=True)
            self._packed.copy_(packed, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(packed.device))
        else:
            self._packed = packed

    def take(self) -> dict[str, np.ndarray]:
        """The numbers, float64 (0-d for single ones)."""
        if self._arrived is not None:
            self._arrived.synchronize()
        flat = self._packed.cpu().numpy().astype(np.float64)
        ends = np.cumsum([shape.numel() for shape in self._shapes.values()])[:-1]
        return {name: part.reshape(shape) for (name, shape), part in zip(self._shapes.items(), np.split(flat, ends))}


class Late(Generic[Item]):
    """Hands out what was put in: at once, or one later."""

    def __init__(self, late: bool) -> None:
        self._late = late
        self._held: list[Item] = []

    def put(self, item: Item) -> Sequence[Item]:
        """What is due now that `item` has been queued."""
        if not self._late:
            return [item]
        due, self._held = self._held, [item]
        return due

    def rest(self) -> Sequence[Item]:
        """What is still held."""
        due, self._held = self._held, []
        return due
