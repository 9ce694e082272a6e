"""The same sections as Markdown: every table, and a word about each figure that only the page has."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from .parts import Cell, Code, Column, Figure, Pairs, Section, Sheet, Table, Text


def write(title: str, summary: str, sections: Sequence[Section], page: str) -> str:
    """page: the name of the page that has the figures."""
    lines = [f"# {plain(title)}", "", plain(summary), ""]
    for section in sections:
        lines += _section(section, 2, page)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def plain(text: str) -> str:
    """Text that Markdown takes as it stands, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", " ".join(text.split()))


def _section(section: Section, level: int, page: str) -> Iterator[str]:
    yield from (f"{'#' * level} {plain(section.title)}", "")
    for part in section.parts:
        if isinstance(part, Table):
            yield from _table(part)
        elif isinstance(part, (Figure, Sheet)):
            what = "Figure" if isinstance(part, Figure) else "Pictures"
            yield f"{what} in {plain(page)}: {plain(part.caption)}"
        elif isinstance(part, Text):
            yield plain(part.text)
            yield ""
            yield from (f"- {plain(item)}" for item in part.items)
        elif isinstance(part, Code):
            yield from (f"    {line}" for line in part.text.splitlines())
        elif isinstance(part, Pairs):
            yield f"{plain(part.title)}: " + ", ".join(f"{plain(name)} {plain(value)}" for name, value in part.pairs)
        yield ""
    for inner in section.below:
        yield from _section(inner, level + 1, page)


def _table(table: Table) -> Iterator[str]:
    """Columns of plots are left out."""
    kept = [number for number, column in enumerate(table.columns) if column.kind != "plot"]
    columns = [table.columns[number] for number in kept]
    yield plain(table.caption)
    yield ""
    yield "| " + " | ".join(_head(column) for column in columns) + " |"
    yield "|" + "|".join("---:" if column.kind == "number" else "---" for column in columns) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_cell(row[number]) for number in kept) + " |"


def _head(column: Column) -> str:
    return plain(f"{column.title} ({column.note})" if column.note else column.title)


def _cell(cell: Cell) -> str:
    text = plain(cell.text)
    return " ".join([f"**{text}**" if cell.strong and text else text, *(plain(line) for line in cell.small)]).strip()
