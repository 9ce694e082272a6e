"""The `dragtext` command: which sub-commands there are, loaded when they are asked for, and how each of them ends.

Exit codes: 0 done, 1 a fault of DragText's own, 2 something that was given cannot be used or written, 3 not enough
memory, 128 and the signal's number when stopped: 130 by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ..errors import DragTextError, InputError, InterruptedEditError, one_line
from .console import finish_streams, put, say, tolerant_streams, warnings_shown


@dataclass(frozen=True)
class Home:
    """Where a sub-command lives, and the first line of its help."""

    module: str
    function: str
    summary: str


COMMANDS = {
    "edit": Home("dragtext.sdk.command.edit", "edit", "Drag points of a picture to their targets."),
    "render": Home(
        "dragtext.sdk.command.edit",
        "render",
        "Render a saved edit again, at any point of the way, without optimising.",
    ),
    "sweep": Home(
        "dragtext.sdk.command.sweep",
        "sweep",
        "One edit over a grid of settings: a run with table.csv, table.json and contact.png. Resumes after a stop.",
    ),
    "bench": Home(
        "dragtext.sdk.command.bench",
        "bench",
        "Measure edits on scenes with known answers, DragBench, Drag100 or a folder of your own. Resumes after a stop.",
    ),
    "ablate": Home(
        "dragtext.sdk.command.bench",
        "ablate",
        "One of the paper's experiments on scenes with known answers. Resumes after a stop.",
    ),
    "batch": Home(
        "dragtext.sdk.command.batch",
        "batch",
        "Do many edits from a folder or a file of requests, on one device, several or a cluster. Resumes after a stop.",
    ),
    "report": Home(
        "dragtext.sdk.command.report",
        "report",
        "Write runs down as one HTML page and as Markdown: tables with intervals, text compared, plots, pictures.",
    ),
    "demo": Home(
        "dragtext.sdk.command.demo",
        "demo",
        "Draw scenes, drag a duck, a cat's ears, a fish and a house with the embedded model, and show what moved.",
    ),
    "export-model": Home(
        "dragtext.sdk.command.model",
        "export_model",
        "Write a model in the original layout with its yaml, for the checkpoint folder of A1111 or Forge.",
    ),
    "info": Home(
        "dragtext.sdk.command.model", "info", "Versions, devices, models and caches: what a bug report needs."
    ),
}


class LaterCommand(TyperCommand):
    """A sub-command of which only the name and the summary are known so far."""

    home: Home

    def load(self) -> TyperCommand:
        """The command itself. Raises InputError where a package that it needs is broken or missing."""
        try:
            function = getattr(import_module(self.home.module), self.home.function)
        except (ImportError, OSError) as error:  # OSError: a library of torch's that does not load
            raise InputError(_broken(error)) from error
        single = typer.Typer(add_completion=False, rich_markup_mode=None)
        single.command(self.name)(function)
        command = get_command(single)
        assert isinstance(command, TyperCommand)  # what typer makes of an app with one command and no callback
        return command


def _broken(error: Exception) -> str:
    return (
        f"A package that DragText needs cannot be loaded ({error}); `dragtext info` lists them, and pip install "
        "--force-reinstall mends one."
    )


class LazyGroup(TyperGroup):
    """Lists its commands without their modules, most of which import torch; the one that runs is loaded."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LaterCommand) else command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # Typer gives it an exit status of its own, which differs between its versions.
            raise InterruptedEditError("Interrupted before anything was written.") from None


def _show_version(wanted: bool) -> None:
    if wanted:
        from .information import own_version

        put(f"dragtext {own_version()}")
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="print the version")
    ] = False,
) -> None:
    pass


def make_group(commands: Mapping[str, Home]) -> Any:
    """The command line of these sub-commands, to be called like a function."""
    app = typer.Typer(
        cls=LazyGroup,
        add_completion=False,
        rich_markup_mode=None,  # markup would swallow what stands in brackets, as defaults do here
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help="Drag points of an image to where they should be, with Stable Diffusion and DragText.",
    )
    app.callback()(_common)
    group = get_command(app)
    assert isinstance(group, LazyGroup)  # what typer makes of an app with a callback and `cls`
    for name, home in commands.items():
        later = LaterCommand(name, help=home.summary)
        later.home = home
        group.commands[name] = later
    return group


def main(commands: Mapping[str, Home] = COMMANDS) -> None:
    """Run the command; every failure is one sentence on stderr and an exit code, never a traceback."""
    tolerant_streams()
    with warnings_shown():
        try:
            make_group(commands)(standalone_mode=True)
        except DragTextError as error:
            say(f"Error: {error}")
            sys.exit(error.exit_code)
        except ImportError as error:
            say(f"Error: {one_line(_broken(error))}")
            sys.exit(InputError.exit_code)
        except Exception as error:
            if os.environ.get("DRAGTEXT_DEBUG"):
                traceback.print_exc()
            say(
                f"Error: {type(error).__name__}: {one_line(str(error))}; please report it with the output of "
                "`dragtext info` (DRAGTEXT_DEBUG=1 shows where it happened)."
            )
            sys.exit(1)
        finally:
            finish_streams()
