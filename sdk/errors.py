"""The errors a user can meet. Each message is one sentence that says what to do about it."""

from __future__ import annotations


class DragTextError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the command line's exit status."""

    exit_code = 2


class InputError(DragTextError):
    """Something the caller gave (image, mask, point, setting, path) cannot be used."""


class ModelError(DragTextError):
    """The checkpoint cannot be read, or is not a model this project can drag on."""


class ModelInUseError(DragTextError):
    """The model is in the middle of another edit of the same thread."""


class NotEnoughMemoryError(DragTextError):
    """The device or the machine ran out of memory."""

    exit_code = 3


class InterruptedEditError(DragTextError):
    """The edit was stopped before there was anything worth keeping."""

    exit_code = 130
