"""`dragtext report`: what run folders hold, as a page and as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from .arguments import JsonOption


def report(
    run: Annotated[list[str], typer.Argument(help="run folders, of one command or of several")],
    output: Annotated[
        Optional[str],
        typer.Option("--output", "-o", help="the page; a .md goes beside it [report.html in the first RUN]"),
    ] = None,
    rank: Annotated[
        Optional[str],
        typer.Option(help="metric by which drags are best, median and worst [what remains, or a distance]"),
    ] = None,
    against: Annotated[
        Optional[str], typer.Option(help="method that every other one is compared with, item by item")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write runs down as one HTML page and as Markdown: tables with intervals, text compared, plots, pictures."""
    from ..evaluation.report import write_report
    from .console import put, put_json, say
    from .information import own_version

    page = None if output is None else Path(output)
    written = write_report([Path(folder) for folder in run], page, rank=rank, against=against, version=own_version())
    for note in written.notes:
        say(f"Note: {note}")
    if json_:
        put_json(
            {
                "output": str(written.page),
                "markdown": str(written.markdown),
                "summary": written.summary,
                "notes": written.notes,
            }
        )
        return
    size = written.page.stat().st_size / 2**20
    put(f"{written.summary} Saved {written.page} ({size:.1f} MB) and {written.markdown}")
