"""Pickles of benchmarks, read without running anything: arrays, lists, dictionaries, text, numbers, and nothing else.

A pickle is a program. This reads it with stand-ins for the few functions that an array of numbers is written with;
whatever else it asks for is refused before it could be looked up.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from typing import Any

import numpy as np

from ..errors import DragTextError, InputError

MAX_ITEMS = 1_000_000  # shared lists may unfold into more than the file's size tells
MAX_DEPTH = 20
_NUMBERS = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")


def read_pickle(data: bytes, name: str) -> Any:
    """The content as dicts, lists, text, numbers, None and numpy arrays of numbers.

    name: what to call the file. Raises InputError for anything else, and for what is damaged.
    """
    try:
        # The one in Python: the one in C allocates what a damaged file names as its size.
        content = _Reader(io.BytesIO(data), encoding="latin1", name=name).load()
        return _Unfolding(name).plain(content, 0)
    except DragTextError:
        raise
    except Exception as error:  # whatever a damaged file makes of it
        reason = str(error) or type(error).__name__
        raise InputError(f"The pickle {name} is damaged ({reason}); save it again, or as JSON.") from None


class _Reader(pickle._Unpickler):  # pyright: ignore[reportAttributeAccessIssue]
    def __init__(self, file: io.BytesIO, *, encoding: str, name: str) -> None:
        super().__init__(file, encoding=encoding)
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        # numpy 2 renamed `core` to `_core`; both write the same.
        maker = _MAKERS.get((module.replace("numpy._core.", "numpy.core."), name))
        if maker is None:
            raise InputError(
                f"The pickle {self._name} asks for {module}.{name}, and only arrays, lists, text and numbers are "
                "read, because a pickle can run any program; save the request as JSON."
            )
        return maker

    def get_extension(self, code: int) -> Any:
        raise InputError(f"The pickle {self._name} asks for the extension {code}; save the request as JSON.")


class _Type:
    """Stands for a numpy dtype."""

    def __init__(self, code: Any, *_options: Any) -> None:
        if not isinstance(code, str) or not _NUMBERS.fullmatch(code):
            raise ValueError(f"an array of {code!r} is none of numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for a numpy array."""

    def __init__(self, *_arguments: Any) -> None:
        self.values = np.zeros(0)

    def __setstate__(self, state: Any) -> None:
        _version, shape, kind, is_fortran, data = state
        self.fill(data, kind, shape, "F" if is_fortran else "C")

    def fill(self, data: Any, kind: Any, shape: Any, order: str) -> None:
        # Python 2 has written bytes as text.
        data = data.encode("latin1") if isinstance(data, str) else bytes(data)
        shape = tuple(int(side) for side in shape)
        if not isinstance(kind, _Type) or len(shape) > 4 or min(shape, default=0) < 0:
            raise ValueError("an array that is none of numbers")
        if len(data) != math.prod(shape) * kind.dtype.itemsize:
            raise ValueError("an array that does not fit its shape")
        self.values = np.frombuffer(data, kind.dtype).reshape(shape, order="F" if order == "F" else "C")


class _Maker:
    """What a pickle may call. It is no function or class, whose attributes a pickle could set."""

    __slots__ = ("_make",)

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a function")


def _make_scalar(kind: Any, data: Any) -> Any:
    array = _Array()
    array.fill(data, kind, (1,), "C")
    return array.values[0].item()


def _make_from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Array:
    array = _Array()
    array.fill(data, kind, shape, order)
    return array


def _make_bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"bytes written in {encoding}")
    return text.encode("latin1")


def _no_array(*_arguments: Any) -> None:
    raise ValueError("an array that is made in another way")


_MAKERS = {
    ("numpy.core.multiarray", "_reconstruct"): _Maker(_Array),
    ("numpy.core.multiarray", "scalar"): _Maker(_make_scalar),
    ("numpy.core.numeric", "_frombuffer"): _Maker(_make_from_buffer),  # protocol 5
    ("numpy", "dtype"): _Maker(_Type),
    ("numpy", "ndarray"): _Maker(_no_array),  # only named, as an argument of _reconstruct
    ("_codecs", "encode"): _Maker(_make_bytes),  # how protocols before 3 write bytes
}


class _Unfolding:
    """Turns what was read into plain values, at most MAX_ITEMS of them."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._left = MAX_ITEMS

    def plain(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if self._left < 0 or depth > MAX_DEPTH:
            raise InputError(f"The pickle {self._name} holds more than a request does; save the request as JSON.")
        if isinstance(value, _Array):
            return value.values
        if isinstance(value, dict):
            return {self.plain(k, depth + 1): self.plain(v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.plain(item, depth + 1) for item in value]
        if value is None or isinstance(value, (str, bool, int, float)):
            return value
        raise ValueError(f"it holds {type(value).__name__}")
