"""What both doors to a model, an edit and a rendering, pass: one user at a time, whatever torch is set to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import torch

from ..errors import ModelInUseError
from .base import DiffusionModel


@dataclass
class Turn:
    """Who uses a U-Net. holder: identity of the thread that did so last, None while nobody does.

    The lock is a plain one, since a run that was left may be ended by another thread.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    holder: int | None = None


# By U-Net and not by `DiffusionModel`: hosts make a new one of the latter over the same weights for every edit.
_turns: WeakKeyDictionary[torch.nn.Module, Turn] = WeakKeyDictionary()
_guard = threading.Lock()


@contextmanager
def exclusive(model: DiffusionModel) -> Iterator[Turn]:
    """Wait until no other thread works on the model, and hold it.

    An edit puts hooks on the U-Net and a second one would compute through them. Raises ModelInUseError where this very
    thread is in the middle of an edit, since it would wait for itself.
    """
    with _guard:
        turn = _turns.setdefault(model.unet, Turn())
    if turn.holder == threading.get_ident():
        raise ModelInUseError(
            "The model is in the middle of an edit on this thread; let it end first, or close what `Editor.steps` gave."
        )
    with turn.lock:
        turn.holder = threading.get_ident()
        try:
            with model.in_use():
                yield turn
        finally:
            turn.holder = None


@contextmanager
def plain_torch(device: torch.device) -> Iterator[None]:
    """What the caller has set torch to must not show in the numbers: gradients are recorded, nothing is cast, and
    tensors without a device or type are float32 on the CPU.

    device: the model's. All of it is back at the end. All but the last two belong to the calling thread alone.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for kind in {"cpu", device.type}:
            with suppress(RuntimeError):  # this torch has no autocast for this device
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.empty(0).device.type != "cpu":
            stack.enter_context(torch.device("cpu"))
        default = torch.get_default_dtype()
        if default != torch.float32:
            stack.callback(torch.set_default_dtype, default)
            torch.set_default_dtype(torch.float32)
        if torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled():
            # Where an operation has no deterministic form, torch would refuse it; it warns instead.
            stack.callback(torch.use_deterministic_algorithms, True)
            torch.use_deterministic_algorithms(True, warn_only=True)
        yield
