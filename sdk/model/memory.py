"""How much memory there is, how much an edit took, and a clear error when there was not enough."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        if out_of_memory(error):
            raise NotEnoughMemoryError(
                "There is not enough memory for this edit; use a smaller image or --resolution, --memory lean, --dtype "
                "float16 on a GPU, or --lora-steps 0."
            ) from error
        raise


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, in whatever words."""
    return isinstance(error, MemoryError) or any(sign in str(error).lower() for sign in _SIGNS)


def release(device: torch.device) -> None:
    """Give back what a failed attempt has left, before another."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be had on a device beside what is in use; None where nobody knows."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch's allocator holds back from the driver it gives to whoever asks.
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _free_on_machine() if device.type == "cpu" else None


def _free_on_machine() -> int | None:
    """What Linux says is available, within a container's limit; else the pages that are free, where that is told."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable:")).split()[1]))
    except (OSError, ValueError, IndexError, StopIteration):
        try:
            found.append(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        except (AttributeError, ValueError, OSError):  # macOS, Windows
            return None
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        # Pages of files are given up for whoever needs them.
        found.append(limit - used + int(facts["active_file"]) + int(facts["inactive_file"]))
    except (OSError, ValueError, KeyError):  # no container, no limit, or the first kind of control groups
        pass
    return max(0, min(found))


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
