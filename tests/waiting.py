"""Where a program would wait for a GPU, found without one: every way from a tensor to the host is watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from dragtext.sdk.model.transfer import Reading
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# Calls that give the host a tensor's numbers, or that copy numbers of the host's from memory that is not pinned.
CALLS = {
    Tensor.item, Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.__array__, Tensor.__bool__, Tensor.__float__,
    Tensor.__int__, Tensor.__index__, torch.equal, torch.allclose, torch.tensor, torch.as_tensor,
}  # fmt: skip
# What such calls come down to, whoever makes them, and operations whose result's size is for the device to tell.
OPERATIONS = {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select", "aten::_unique2"}


class Watch:
    """reads: how often the one read that is allowed happened."""

    def __init__(self) -> None:
        self.reads = 0
        self._allowed = False

    def refuse(self, what: str) -> None:
        if not self._allowed:
            raise AssertionError(f"{what} waits for the device")

    @contextmanager
    def allowed(self, reads: int = 1) -> Iterator[None]:
        """Nothing is refused in the block. reads: how many waits it is."""
        self.reads += reads
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False


class _Calls(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in CALLS:
            self._watch.refuse(getattr(func, "__name__", str(func)))
        # A device that a tensor names may be the CPU as well, here; only a literal is surely meant.
        if func is Tensor.to and any(isinstance(given, str) for given in (*args, *(kwargs or {}).values())):
            self._watch.refuse("to a device by its name")
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func._schema.name in OPERATIONS:
            self._watch.refuse(func._schema.name)
        if func._schema.name == "aten::index" and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self._watch.refuse("an index of booleans")
        return func(*args, **(kwargs or {}))


@contextmanager
def watching(monkeypatch: Any) -> Iterator[Watch]:
    """Raise AssertionError in the block wherever a GPU would be waited for, but for `Reading.take`."""
    watch, real_take, real_from = Watch(), Reading.take, torch.from_numpy

    def take(self: Reading) -> Any:
        with watch.allowed():
            return real_take(self)

    def from_numpy(array: Any) -> Tensor:
        watch.refuse("from_numpy")
        return real_from(array)

    with monkeypatch.context() as patch, _Calls(watch), _Operations(watch):
        patch.setattr(Reading, "take", take)
        patch.setattr(torch, "from_numpy", from_numpy)  # which no mode sees
        yield watch
