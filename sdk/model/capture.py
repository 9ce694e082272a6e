"""A pass through the U-Net and back as a captured CUDA graph: replayed it is two launches, not thousands.

On a fast card an iteration takes as long as Python needs to launch it. What is captured computes on memory of its own:
inputs are copied there, and results are good until the next replay; a backward pass belongs to the latest forward pass,
and there is one of it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("dragtext")

Pass = Callable[..., tuple[Tensor, ...]]

# Relative error that is rounding: kernels may add in another order.
TOLERANCE = {torch.float16: 2e-2, torch.bfloat16: 1e-1, torch.float32: 1e-3}


class Captures:
    """Captured passes of one drag, by key. They go with this object, and their memory with them."""

    def __init__(self) -> None:
        self._passes: dict[Hashable, Pass] = {}

    def of(self, key: Hashable, work: Pass, inputs: Sequence[Tensor]) -> Pass:
        """`work`, captured on the first call for a key, or itself where that cannot be done.

        work: a function of tensors on the same device, some of which require gradients, to tensors; whatever else it
        reads must stay where it is. inputs: such as it will be given.
        """
        if key not in self._passes:
            self._passes[key] = captured(work, inputs) or work
        return self._passes[key]


def captured(work: Pass, inputs: Sequence[Tensor]) -> Pass | None:
    """`work` as a graph, seen to give the same on other inputs; None, with a line in the log, where that failed."""
    probes = tuple(_copied(tensor, 0.75) for tensor in inputs)
    try:
        expected = _there_and_back(work, probes)
        if inputs[0].device.type == "cuda":
            torch.cuda.empty_cache()  # a graph cannot use what the allocator keeps for everybody else
        graph = make_graph(work, tuple(_copied(tensor) for tensor in inputs))
        found = _there_and_back(graph, probes)
    except RuntimeError as error:  # what a capture forbids, and too little memory
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("An iteration cannot be captured here (%s); it goes on without.", reason)
        return None
    worst = max(_difference(one, other) / _tolerance(one) for one, other in zip(found, expected))
    if worst > 1:
        log.warning("A captured iteration gives other numbers here (%.1f times rounding); it goes on without.", worst)
        return None
    return graph


def make_graph(work: Pass, samples: tuple[Tensor, ...]) -> Pass:
    """torch's own capture of a forward and a backward pass, three warm-ups included."""
    graphed: Any = torch.cuda.make_graphed_callables  # annotated for modules' sake
    return graphed(work, samples, allow_unused_input=True)


def _copied(tensor: Tensor, factor: float = 1.0) -> Tensor:
    copy = tensor.detach() * factor
    return copy.to(tensor.dtype).requires_grad_(tensor.requires_grad)


def _there_and_back(work: Pass, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies of the results, and of the gradients of their means."""
    results = work(*inputs)
    loss = torch.stack([result.float().mean() for result in results]).sum()
    gradients = torch.autograd.grad(loss, [tensor for tensor in inputs if tensor.requires_grad])
    return tuple(tensor.detach().clone() for tensor in (*results, *gradients))


def _difference(one: Tensor, other: Tensor) -> float:
    size = torch.linalg.vector_norm(other.float())
    return float(torch.linalg.vector_norm(one.float() - other.float()) / size.clamp(min=1e-12))


def _tolerance(tensor: Tensor) -> float:
    return TOLERANCE[tensor.dtype]
