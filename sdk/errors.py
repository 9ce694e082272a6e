"""The errors a user can meet. Each message is one sentence that says what to do about it."""

from __future__ import annotations

LONGEST = 600


def one_line(text: str, longest: int = LONGEST) -> str:
    """The text on one line of at most `longest` characters; it is cut in the middle, where no advice stands."""
    text = " ".join(text[: 4 * longest].split() + text[4 * longest :][-longest:].split())
    if len(text) <= longest:
        return text
    half = (longest - len(" ... ")) // 2
    return f"{text[:half]} ... {text[-half:]}"


class DragTextError(Exception):
    """Base of all errors raised on purpose; `exit_code` is the command line's exit status.

    The message quotes what was given, which may be of any length; it is kept as one line that can be shown anywhere.
    """

    exit_code = 2

    def __init__(self, message: str = "") -> None:
        super().__init__(one_line(message))


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
