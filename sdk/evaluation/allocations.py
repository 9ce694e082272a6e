"""How much memory a computation would take on a graphics card, counted on torch's `meta` device: nothing is computed.

Every tensor's storage counts from when it is made until nothing refers to it any more, as in torch's own allocator.
What this cannot know: workspaces of cuDNN and cuBLAS, and what the allocator rounds up and cannot give back.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode


class Allocations(TorchDispatchMode):
    """Within the block every new storage on the meta device is counted. Bytes.

    live: now; peak: at most, since the block began or `restart`; what was there before does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: set[int] = set()

    def restart(self) -> None:
        self.peak = self.live

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        # What an operation is given is known, or was there before.
        before = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs or {}))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in before and key not in self._known:
                self._count(storage, key)
        return result

    def _count(self, storage: Any, key: int) -> None:
        size = storage.nbytes()
        self._known.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)

        def gone() -> None:
            self._known.discard(key)
            self.live -= size

        weakref.finalize(storage, gone)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.device.type == "meta":
            yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)


class _Attention(torch.autograd.Function):
    """What a fused attention keeps: queries, keys, values, its output, and a sum for each query."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        count, heads, length, size = query.shape
        # The kernels lay heads next to each other, so that taking them together copies nothing.
        output = query.new_empty((count, length, heads, size)).transpose(1, 2)
        ctx.save_for_backward(query, key, value, output, query.new_empty((count, heads, length), dtype=torch.float32))
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        return tuple(torch.empty_like(t) if needed else None for t, needed in zip(saved, ctx.needs_input_grad))


@contextmanager
def fused_attention() -> Iterator[None]:
    """Attention keeps what it keeps on a graphics card; on the meta device torch would write it out.

    Replaced where it is called, and not by a mode: modes are off while a backward pass computes something again.
    """
    own = functional.scaled_dot_product_attention

    def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.device.type != "meta":
            return own(query, key, value, *args, **kwargs)
        return _Attention.apply(query, key, value)

    functional.scaled_dot_product_attention = attention  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = own


@contextmanager
def allocations() -> Iterator[Allocations]:
    """Count what the block would allocate on a graphics card."""
    with fused_attention(), Allocations() as found:
        yield found
