"""How much memory an edit took, and a clear error when there was not enough."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import NotEnoughMemoryError

_SIGNS = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "cannot allocate memory",
    "alloc_failed",  # cuDNN and cuBLAS
    "bad_alloc",
)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Turn any out-of-memory failure into NotEnoughMemoryError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS):
            raise NotEnoughMemoryError(
                "There is not enough memory for this edit; use a smaller image or --resolution, --dtype float16 on a "
                "GPU, a smaller --lora-batch or --lora-steps 0."
            ) from error
        raise


def start_measuring(device: torch.device) -> None:
    """Reset the device's peak, where there is one."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Peak bytes: allocated since `start_measuring` on CUDA, else ever resident in this process (0: unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
