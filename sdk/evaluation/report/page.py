"""Writing a report: one page that needs nothing beside it, and the same tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from ...errors import InputError
from ...picture.files import check_writable, write_atomically
from . import markdown
from .axes import in_order, ranking
from .content import sections, summary
from .parts import Section
from .run import read_run
from .study import make_study

_HERE = Path(__file__).parent
PAGE = "report.html"
_ENDINGS = (".html", ".htm")


@dataclass(frozen=True)
class Written:
    """page, markdown: the files; summary: what they are of, in a sentence; notes: what is damaged or missing."""

    page: Path
    markdown: Path
    summary: str
    notes: tuple[str, ...]


def write_report(
    folders: Sequence[Path],
    output: Path | None = None,
    rank: str | None = None,
    against: str | None = None,
    version: str = "",
) -> Written:
    """Write the report of these run folders to `output` (.html), by default into the first folder, and a .md beside it.

    rank: the name of the metric by which edits are ordered into best and worst. against: the method that all others of
    its run are compared with, beside those that are there with and without text; for an experiment that varies
    something else it is the first one. Raises InputError for a folder that is no run or has no rows, a metric or method
    that is not there, and a file that cannot be written.
    """
    if not folders:
        raise InputError("There is no run to report; give at least one run folder.")
    runs = [read_run(folder) for folder in folders]
    page = folders[0] / PAGE if output is None else output
    if page.suffix.lower() not in _ENDINGS:
        raise InputError(f"The report {page.name} must end in .html; its tables go into a .md beside it.")
    beside = page.with_suffix(".md")
    for path in (page, beside):
        check_writable(path)
    study = make_study(runs)
    study = replace(study, measures=in_order(study.measures))
    measure = ranking(study, rank)
    if rank is not None and measure is None:
        known = ", ".join(m.metric.name for m in study.measures) or "none"
        raise InputError(f"--rank {rank}: no run has such a metric; there are: {known}.")
    if against is None and study.runs[0].question and not any(arm.without for arm in study.arms):
        against = study.arms[0].label  # of an experiment, the first is what the others are compared with
    base = next((arm for arm in study.arms if against in (arm.label, arm.name)), None)
    if against is not None and base is None:
        raise InputError(
            f"--against {against}: no run has such a method; there are: {', '.join(a.label for a in study.arms)}."
        )
    told = summary(study)
    found, notes = sections(study, measure, base, version)
    title = " and ".join(dict.fromkeys(run.title for run in runs))
    html = render(title, told, found)
    text = markdown.write(title, told, found, page.name)
    write_atomically(page, lambda temporary: temporary.write_bytes(html.encode("utf-8", "replace")))
    write_atomically(beside, lambda temporary: temporary.write_bytes(text.encode("utf-8", "replace")))
    return Written(page, beside, told, tuple(notes))


def _breaks(name: str) -> Markup:
    """A name that may go on in the next line at its joints, as `dragdiffusion,text_weight=0.1+text`."""
    return Markup(re.sub(r"(?<=[,=])(?=\S)|(?=[+_])", "<wbr>", str(escape(name))))


def render(title: str, told: str, found: Sequence[Section]) -> str:
    """The page."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["breaks"] = _breaks
    style = Markup((_HERE / "page.css").read_text(encoding="utf-8"))
    return environment.get_template("page.html").render(title=title, summary=told, sections=found, style=style)
