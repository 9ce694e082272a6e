"""What a report is made of. The page and the Markdown are two ways of writing the same sections down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup


@dataclass(frozen=True)
class Cell:
    """text with smaller lines below it. strong: the best of its column; bad: a failure; plot: for the page alone."""

    text: str = ""
    small: tuple[str, ...] = ()
    strong: bool = False
    bad: bool = False
    plot: Markup | None = None


@dataclass(frozen=True)
class Column:
    """A table's column. note: a line under the title; kind: "label", "number", "text" or "plot"; link: of a section."""

    title: str
    note: str = ""
    kind: str = "number"
    link: str = ""


@dataclass(frozen=True)
class Table:
    """groups: numbers of the rows that begin a group, which a line sets off. code: its text is set in one width."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    groups: frozenset[int] = frozenset()
    code: bool = False


@dataclass(frozen=True)
class Figure:
    caption: str
    drawing: Markup


@dataclass(frozen=True)
class Text:
    """A paragraph, and what it lists."""

    text: str
    items: Sequence[str] = ()


@dataclass(frozen=True)
class Code:
    """A line to be typed."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """Names and values in a narrow list."""

    title: str
    pairs: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Picture:
    """source: a data URI, or "" where there is no picture, which is shown as a gap. alt: what it shows."""

    source: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Card:
    """One item in a sheet. lines: what is said of it; errors: what failed, and with what."""

    title: str
    pictures: Sequence[Picture]
    lines: Sequence[str] = ()
    errors: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Sheet:
    """Cards beside and below each other, `across` of them where there is room."""

    caption: str
    cards: Sequence[Card]
    across: int = 2


Part = Table | Figure | Text | Code | Pairs | Sheet


@dataclass(frozen=True)
class Section:
    """identity: what links name. parts, then the sections below it."""

    identity: str
    title: str
    parts: Sequence[Part]
    below: Sequence[Section] = ()
