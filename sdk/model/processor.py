"""In which precision a U-Net computes fastest on this processor, found by measuring it once."""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from . import cache

log = logging.getLogger("dragtext")

LEAST_CHANNELS = 640  # at its widest. Narrower U-Nets take no time to speak of and gain little
LEAST_GAIN = 1.4  # bfloat16 must be so many times as fast; a measurement this short is a tenth off at times
_CHANNELS, _SIDE, _TOKENS = 320, 32, 1024
_REPEATS = 3


def suited_to_processor(unet: Any) -> torch.dtype:
    """bfloat16 where it pays: on processors that multiply it in hardware (AMX, AVX512-BF16, newer ARM).

    Drags are as good in it (docs/measurements.md); on other processors it is many times slower than float32.
    """
    if max(unet.config.block_out_channels) < LEAST_CHANNELS:
        return torch.float32
    return torch.bfloat16 if bfloat16_gain() >= LEAST_GAIN else torch.float32


@lru_cache(maxsize=1)
def bfloat16_gain() -> float:
    """How many times as fast as float32 bfloat16 is here, from the disk cache or measured now (under a second)."""
    key = cache.make_key("bfloat16", *_facts())
    stored = cache.load_tensors(key)
    if stored is not None and "gain" in stored:
        return float(stored["gain"])
    try:
        gain = _measured()
    except RuntimeError as error:  # builds of torch without such kernels
        log.info("torch does not compute in bfloat16 on this processor: %s", error)
        gain = 0.0
    log.info("This processor computes in bfloat16 %.2f times as fast as in float32.", gain)
    cache.save_tensors(key, {"gain": torch.tensor(gain)})
    return gain


def _facts() -> tuple[object, ...]:
    """What the answer depends on."""
    name = platform.processor()
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line for line in lines if line.lower().startswith(("model name", "cpu part")))
    return name, platform.machine(), os.cpu_count(), torch.get_num_threads(), torch.__version__


def _measured() -> float:
    """Of the geometric mean of a convolution and a linear layer, forwards and backwards to the input."""
    ratio = 1.0
    for work in (_convolution, _linear):
        plain, half = (work(kind) for kind in (torch.float32, torch.bfloat16))
        fast = _least_seconds(plain)
        first = _seconds(half)
        # Where it is emulated one look says enough.
        ratio *= fast / (first if first > 4 * fast else _least_seconds(half))
    return ratio**0.5


def _least_seconds(work: Callable[[], object]) -> float:
    work()  # the first call chooses among kernels
    return min(_seconds(work) for _ in range(_REPEATS))


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _convolution(kind: torch.dtype) -> Callable[[], object]:
    values = torch.full((1, _CHANNELS, _SIDE, _SIDE), 0.5, dtype=kind, device="cpu", requires_grad=True)
    weight = torch.full((_CHANNELS, _CHANNELS, 3, 3), 0.01, dtype=kind, device="cpu")
    return lambda: _there_and_back(functional.conv2d(values, weight, padding=1), values)


def _linear(kind: torch.dtype) -> Callable[[], object]:
    values = torch.full((_TOKENS, _CHANNELS), 0.5, dtype=kind, device="cpu", requires_grad=True)
    weight = torch.full((4 * _CHANNELS, _CHANNELS), 0.01, dtype=kind, device="cpu")
    return lambda: _there_and_back(functional.linear(values, weight), values)


def _there_and_back(result: Tensor, values: Tensor) -> object:
    return torch.autograd.grad(result, values, result.detach())
