"""A network's training over any number of starts and stops: its schedule, its averaged weights, its checkpoint."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SAVE_EVERY = 60.0  # seconds
TELL_EVERY = 100  # steps


def save(state: dict[str, Any], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def restore(path: Path) -> dict[str, Any] | None:
    # Our own checkpoint, written by `save`; weights_only keeps even that from running code.
    return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else None


@dataclass(frozen=True)
class Length:
    """How long a training lasts: until `seconds` have been spent, those of earlier runs included, or for `steps`."""

    seconds: float
    steps: int | None = None


class Run:
    """One network's training: learning rates, averaged weights, checkpoints, going on from them.

    path: of the checkpoint; None keeps none. keep: of the moving average of the weights, per step.
    """

    def __init__(
        self,
        path: Path | None,
        name: str,
        network: nn.Module,
        optimisers: list[torch.optim.Optimizer],
        length: Length,
        keep: float,
    ) -> None:
        self.path, self.name, self.network, self.optimisers = path, name, network, optimisers
        self.length, self.keep = length, keep
        self.average = copy.deepcopy(network).requires_grad_(False)
        self._peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
        self.step, self.spent = 0, 0.0
        self.curve: list[tuple[int, float, float]] = []  # step, mean of what was told, seconds
        if path is not None and (state := restore(path)):
            network.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            for optimiser, kept in zip(optimisers, state["optimisers"]):
                optimiser.load_state_dict(kept)
            self.step, self.spent = state["step"], state["spent"]
            self.curve = [tuple(point) for point in state["curve"]]
        self._fast, self._slow = list(network.parameters()), list(self.average.parameters())
        self._told = torch.zeros((), device=self._fast[0].device)
        self._begin = self._saved = time.time()

    @property
    def seconds(self) -> float:
        """Spent so far."""
        return self.spent + time.time() - self._begin

    @property
    def share(self) -> float:
        """Of the schedule that is over, 0 to 1."""
        if self.length.steps is not None:
            return min(1.0, self.step / self.length.steps)
        return min(1.0, self.seconds / self.length.seconds)

    def goes_on(self) -> bool:
        """Whether another step is due; sets its learning rates: a short rise, then half a cosine."""
        share = self.share
        factor = min(1.0, (self.step + 1) / 50) * max(0.02, 0.5 * (1 + math.cos(math.pi * share)))
        for optimiser, peak in zip(self.optimisers, self._peaks):
            optimiser.param_groups[0]["lr"] = peak * factor
        if share >= 1:
            self._save()
        return share < 1

    def learn(self, loss: Tensor, told: Tensor) -> None:
        """One step. told: the number whose mean over a hundred steps is printed. Nothing here waits for the device."""
        loss.backward()
        nn.utils.clip_grad_norm_(self._fast, 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.network.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(self.keep, self.step / (self.step + 20))
        with torch.no_grad():
            torch._foreach_lerp_(self._slow, self._fast, 1 - keep)
            self._told += told.detach()
        if self.step % TELL_EVERY == 0:
            self._tell()
        if time.time() - self._saved > SAVE_EVERY:
            self._save()

    def _tell(self) -> None:
        mean = self._told.item() / TELL_EVERY
        self._told.zero_()
        self.curve.append((self.step, mean, self.seconds))
        print(f"{self.name} step {self.step}: {mean:.5f}, {self.share:.2f} over, {self.seconds:.0f} s", flush=True)
        if not math.isfinite(mean):
            raise SystemExit(f"The {self.name} has diverged.")

    def _save(self) -> None:
        if self.path is None:
            return
        now = time.time()
        self.spent, self._begin, self._saved = self.spent + now - self._begin, now, now
        save(
            {
                "model": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "step": self.step,
                "spent": self.spent,
                "curve": self.curve,
            },
            self.path,
        )
