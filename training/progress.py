"""A network's training over many starts and stops: its schedule, its averaged weights, its checkpoint."""

from __future__ import annotations

import copy
import time
from pathlib import Path

import numpy as np
import torch

SAVE_EVERY = 60.0  # seconds


def save(state: dict, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def restore(path: Path) -> dict | None:
    # Our own checkpoint, written by `save`; weights_only keeps even that from running code.
    return torch.load(path, weights_only=True) if path.exists() else None


class Run:
    """One network's training against the clock: learning rates, averaged weights, checkpoints, going on from them.

    minutes: the whole schedule's, those of earlier runs included. keep: of the moving average of the weights, per step.
    """

    def __init__(
        self,
        path: Path,
        network: torch.nn.Module,
        optimisers: list[torch.optim.Optimizer],
        minutes: float,
        keep: float,
    ) -> None:
        self.path, self.network, self.optimisers = path, network, optimisers
        self.seconds, self.keep = minutes * 60, keep
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.peaks = [optimiser.param_groups[0]["lr"] for optimiser in optimisers]
        self.step, self.spent = 0, 0.0
        self.recent: list[float] = []
        if state := restore(path):
            network.load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            for optimiser, kept in zip(optimisers, state["optimisers"]):
                optimiser.load_state_dict(kept)
            self.step, self.spent = state["step"], state["spent"]
        self.begin = self.saved = time.time()

    @property
    def share(self) -> float:
        """Of the schedule that is over, 0 to 1."""
        return min(1.0, (self.spent + time.time() - self.begin) / self.seconds)

    def goes_on(self) -> bool:
        """Whether another step is due; sets its learning rates: a short rise, then half a cosine."""
        share = self.share
        if share >= 1:
            self._save()
            return False
        factor = min(1.0, (self.step + 1) / 50) * max(0.03, 0.5 * (1 + np.cos(np.pi * share)))
        for optimiser, peak in zip(self.optimisers, self.peaks):
            optimiser.param_groups[0]["lr"] = float(peak * factor)
        return True

    def learn(self, loss: torch.Tensor, told: float) -> None:
        """One step. told: the number whose mean over the last hundred steps is printed."""
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self.step += 1
        keep = min(self.keep, self.step / (self.step + 20))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters()):
                slow.lerp_(fast, 1 - keep)
        self.recent = [*self.recent[-99:], told]
        if self.step % 100 == 0:
            print(f"{self.path.stem} step {self.step}: {np.mean(self.recent):.5f}, {self.share:.2f} over", flush=True)
        if time.time() - self.saved > SAVE_EVERY:
            self._save()

    def _save(self) -> None:
        now = time.time()
        self.spent, self.begin, self.saved = self.spent + now - self.begin, now, now
        save(
            {
                "model": self.network.state_dict(),
                "average": self.average.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "step": self.step,
                "spent": self.spent,
            },
            self.path,
        )
