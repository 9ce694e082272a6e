"""How the command line is stopped: Ctrl-C, and the signals by which a system ends its processes."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InterruptedEditError
from .console import say

# Windows has no SIGHUP.
STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Stop:
    """Whether the work is asked to stop, and by which signal. Called, it is an edit's `should_stop`."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """As shells count it: 130 for SIGINT, 143 for SIGTERM, 129 for SIGHUP."""
        return 128 + (self.signal or signal.SIGINT)

    def error(self, message: str) -> InterruptedEditError:
        """An error that ends the command with this exit code."""
        return self.give_code(InterruptedEditError(message))

    def give_code(self, error: InterruptedEditError) -> InterruptedEditError:
        error.exit_code = self.exit_code
        return error


@contextmanager
def interruptible(
    promise: str = "what has been reached is rendered and kept", *, immediately: bool = False
) -> Iterator[Stop]:
    """A `should_stop` that turns true at the first of STOPS; the second one ends the block with InterruptedEditError.

    promise: what the first one tells that happens now. immediately: the first one ends the block, for work of which a
    part is of no use. A SIGHUP that is ignored, as under nohup, stays so.
    """
    stop = Stop()

    def on_signal(number: int, _frame: Any) -> None:
        if immediately or stop():
            stop.signal = stop.signal or number
            raise KeyboardInterrupt
        stop.signal = number
        again = " (Ctrl-C again ends at once)" if number == signal.SIGINT else ""
        say(f"\nStopping: {promise}{again}.")

    handled = [s for s in STOPS if s == signal.SIGINT or signal.getsignal(s) is not signal.SIG_IGN]
    previous = {number: signal.signal(number, on_signal) for number in handled}
    try:
        yield stop
    except KeyboardInterrupt:
        raise stop.error("Stopped at once; the work in hand was dropped.") from None
    except InterruptedEditError as error:
        stop.give_code(error)
        raise
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)  # None: set by other than Python
