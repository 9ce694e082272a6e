"""What the command line shows: progress and warnings on stderr, the report on stdout."""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

from ..errors import DragTextError, InputError, one_line

if TYPE_CHECKING:
    from ..result import EditResult, Progress

# A reader who has left, as `| head` does, or a terminal that was closed.
GONE = (errno.EPIPE, errno.EIO, errno.EINVAL)


def say(text: str) -> None:
    """A line on stderr. That nobody can read it any more is no failure."""
    with suppress(OSError, ValueError):
        try:
            typer.echo(text, err=True)
        except RuntimeError:  # in a signal handler, in the middle of another line
            os.write(2, f"{text}\n".encode(errors="backslashreplace"))


def put(text: str) -> None:
    """A line of results on stdout. A reader who has left is no failure, a full disk is one."""
    try:
        typer.echo(text)
    except OSError as error:
        _discard(sys.stdout)
        if error.errno not in GONE:
            raise InputError(f"The report cannot be written to stdout ({error.strerror or error}).") from None


def put_json(facts: Any) -> None:
    """One JSON object on stdout, in ASCII, whatever the terminal can show."""
    put(json.dumps(facts))


def finish_streams() -> None:
    """At the end: what cannot be written any more is dropped, instead of Python's own complaint and exit status 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _discard(stream)


def _discard(stream: Any) -> None:
    """Drop what a stream still holds back, so that Python does not fail over it at its end."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def tolerant_streams() -> None:
    """Names of files may hold what the terminal cannot show; it is shown as \\\\u escapes instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def warnings_shown() -> Iterator[None]:
    """DragText's own warnings as lines on stderr, whatever the root logger does."""
    logger, handler = logging.getLogger("dragtext"), _Lines(logging.WARNING)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = one_line(f"{record.levelname.capitalize()}: {record.getMessage()}")
        bars = getattr(sys.modules.get("tqdm"), "tqdm", None)
        if bars is None or sys.stderr is None:
            say(text)
            return
        with suppress(OSError, ValueError):
            bars.write(text, file=sys.stderr)  # above a bar that is being drawn


class ProgressBars:
    """One bar per phase on stderr, with speed and, while dragging, the mean distance left in pixels."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet or sys.stderr is None
        self._phase: str | None = None
        self._bar: Any = None

    def __call__(self, event: Progress) -> None:
        if self._quiet:
            return
        try:
            self._show(event)
        except (OSError, ValueError):  # whoever watched has left; that must not cost the edit
            self._quiet = True

    def _show(self, event: Progress) -> None:
        if event.phase != self._phase:
            self.close()
            from tqdm import tqdm

            from ..result import PHASES

            self._phase = event.phase
            self._bar = tqdm(total=event.total, desc=PHASES[event.phase], unit="step", leave=True)
        if event.distance is not None:
            self._bar.set_postfix_str(f"{event.distance:.1f} px left", refresh=False)
        self._bar.update(event.done - self._bar.n)

    def close(self) -> None:
        bar, self._bar, self._phase = self._bar, None, None
        if bar is not None:
            with suppress(OSError, ValueError):
                bar.close()


class Attempts:
    """Several files to write: one that cannot be written costs none of the others."""

    def __init__(self) -> None:
        self._failures: list[DragTextError] = []

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """The block may fail; what follows it still runs."""
        try:
            yield
        except DragTextError as error:
            self._failures.append(error)

    @property
    def failed(self) -> bool:
        return bool(self._failures)

    def check(self) -> None:
        """Raise the first failure, after a line for each of the others."""
        for error in self._failures[1:]:
            say(f"Error: {error}")
        if self._failures:
            raise self._failures[0]


def show_result(result: EditResult, output: str, as_json: bool) -> None:
    """Print the outcome on stdout: one JSON object, or a line per drag."""
    if as_json:
        put_json({"output": output, **result.report()})
        return
    for drag in result.drags:
        put(
            f"({drag.start[0]:g}, {drag.start[1]:g}) -> ({drag.final[0]:.0f}, {drag.final[1]:.0f})"
            f"  target ({drag.target[0]:g}, {drag.target[1]:g})"
            f"  distance {drag.distance_before:.1f} -> {drag.distance_after:.1f} px"
        )
    levels = result.settings.method == "gooddrag"
    ending = {
        "reached": "every point arrived",
        "steps": f"all steps used; {'--tracks-per-level' if levels else '--steps'} or --lr go further",
        "stuck": "no point moved any more; --lr or --patience go further",
        "interrupted": "interrupted",
        "diverged": "the loss became NaN, the last good state was kept; lower --lr",
    }[result.stopped]
    if result.stopped == "stuck" and not result.steps:
        ending = "nothing was dragged, since no handle stands out from its surroundings; put them on edges or details"
    seconds = sum(result.timings.values())
    done = f"{result.steps} steps"
    if result.start is not None:
        done, ending = _started(result, ending)
    put(f"{done} in {seconds:.1f} s, {ending}. Saved {output}")
    if result.recommended:
        values = ", ".join(f"{name} {value}" for name, value in result.recommended.items())
        put(f"Settings that come with the model: {values}")


def _started(result: EditResult, ending: str) -> tuple[str, str]:
    """What was done by an edit with a start, and how it ended."""
    carried = {"found": "what the handles lie on", "given": "the region", "mask": "all of the mask"}
    what = carried.get(result.region or "", "what lies around the handles")
    if result.steps:
        return f"Moved {what}, then {result.steps} steps", ending
    return f"Moved {what}", "to where the handles should be"
