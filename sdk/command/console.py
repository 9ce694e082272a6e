"""What the command line shows and how it is stopped: progress on stderr, Ctrl-C, the report on stdout."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from ..errors import InterruptedEditError
from ..result import PHASES, EditResult, Progress


class ProgressBars:
    """One bar per phase on stderr, with speed and, while dragging, the mean distance left in pixels."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._phase: str | None = None
        self._bar: Any = None

    def __call__(self, event: Progress) -> None:
        if self._quiet:
            return
        if event.phase != self._phase:
            self.close()
            from tqdm import tqdm

            self._phase = event.phase
            self._bar = tqdm(total=event.total, desc=PHASES[event.phase], unit="step", leave=True)
        if event.distance is not None:
            self._bar.set_postfix_str(f"{event.distance:.1f} px left", refresh=False)
        self._bar.update(event.done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = self._phase = None


@contextmanager
def interruptible(
    promise: str = "what has been reached is rendered and kept", *, immediately: bool = False
) -> Iterator[Any]:
    """A `should_stop` that turns true at the first Ctrl-C; the second one ends the block with InterruptedEditError.

    promise: what the first one tells that happens now. immediately: the first one ends the block, for work of which a
    part is of no use.
    """
    stopped = immediately

    def on_signal(_number: int, _frame: Any) -> None:
        nonlocal stopped
        if stopped:
            raise KeyboardInterrupt
        stopped = True
        typer.echo(f"\nStopping: {promise} (Ctrl-C again ends at once).", err=True)

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield lambda: stopped
    except KeyboardInterrupt:
        # Typer gives a KeyboardInterrupt an exit status of its own, which differs between its versions.
        raise InterruptedEditError("Stopped at once; the work in hand was dropped.") from None
    finally:
        signal.signal(signal.SIGINT, previous)


def show_result(result: EditResult, output: str, as_json: bool) -> None:
    """Print the outcome on stdout: one JSON object, or a line per drag."""
    if as_json:
        typer.echo(json.dumps({"output": output, **result.report()}))
        return
    for drag in result.drags:
        typer.echo(
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
    seconds = sum(result.timings.values())
    typer.echo(f"{result.steps} steps in {seconds:.1f} s, {ending}. Saved {output}")
