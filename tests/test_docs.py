"""What the pages say is there: every command parses, every setting is listed, every file that is named exists.

python -m tests.test_docs      writes the tables into docs/settings.md and docs/metrics.md
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from dragtext.extension.command import UI
from dragtext.sdk.command.app import COMMANDS, LaterCommand, make_group
from dragtext.sdk.evaluation.metrics import METRICS
from dragtext.sdk.request import Request
from dragtext.sdk.settings import SettingInfo, catalogue

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def blocks(language: str) -> list[str]:
    return [
        text for page in PAGES for found, text in BLOCK.findall(page.read_text(encoding="utf-8")) if found == language
    ]


def commands() -> list[list[str]]:
    """The arguments of every `dragtext` in the pages' plain blocks."""
    lines = [line for block in blocks("") for line in block.splitlines()]
    found = [text for line in lines for text in re.findall(r"(?:^|&& )dragtext (.*?)(?= &&|$)", line)]
    return [shlex.split(text, comments=True) for text in found]


@pytest.mark.parametrize("arguments", commands(), ids=" ".join)
def test_every_command_of_the_pages_parses(arguments):
    group = make_group({**COMMANDS, "ui": UI})
    command = group.commands[arguments[0]]
    assert isinstance(command, LaterCommand)
    command.load().make_context(arguments[0], arguments[1:])


def test_there_are_commands_to_parse():
    assert {"edit", "render", "sweep", "bench", "ablate", "batch", "report", "demo", "export-model", "info", "ui"} == {
        words[0] for words in commands()
    }


def test_every_python_block_compiles():
    for block in blocks("python"):
        compile(block, "a page", "exec")


def test_the_request_of_the_pages_is_one():
    texts = [text for text in blocks("json") if "drags" in text]
    assert texts
    for text in texts:
        assert Request.from_json(text).drags


def test_every_file_that_the_pages_name_exists():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
        assert [link for link in links if not (page.parent / link).exists()] == [], page.name
        named = re.findall(r"`((?:sdk|extension|tests|examples|training|benchmarks|scripts)/[\w./]*)`", text)
        assert [name for name in named if not (ROOT / name).exists()] == [], page.name


def bounds(info: SettingInfo) -> str:
    if info.choices:
        return ", ".join(f"`{choice}`" for choice in info.choices)
    if info.kind in ("bool", "text"):
        return "on, off" if info.kind == "bool" else "text"
    return f"{'above ' if info.above else ''}{info.least:g} to {info.most:g}"


def settings_table() -> str:
    rows = ["| setting | value | default | |", "|---|---|---|---|"]
    rows += [f"| `{i.name}` | {bounds(i)} | {i.default_text} | {i.description} |" for i in catalogue()]
    return "\n".join(rows)


def metrics_table() -> str:
    better = {"lower": "less is better", "higher": "more is better", "one": "1 is best", None: ""}
    rows = ["| name; in tables | | |", "|---|---|---|"]
    for m in METRICS.values():
        told = ", ".join(filter(None, (m.unit, better[m.direction])))
        rows.append(f"| `{m.name}`; {m.title} | {told} | {m.definition} *{m.source}* |")
    return "\n".join(rows)


TABLES = {"settings": settings_table, "metrics": metrics_table}


def written(name: str) -> tuple[str, str, str]:
    """A page before, in and after its table."""
    text = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    before, rest = text.split(f"<!-- {name} -->\n")
    table, after = rest.split("<!-- end -->")
    return before, table.strip(), after


@pytest.mark.parametrize("name", TABLES)
def test_a_pages_table_lists_all_of_them_as_they_are(name):
    assert written(name)[1] == TABLES[name](), "python -m tests.test_docs writes it anew"


if __name__ == "__main__":
    for name, table in TABLES.items():
        before, _, after = written(name)
        page = f"{before}<!-- {name} -->\n{table()}\n<!-- end -->{after}"
        (ROOT / "docs" / f"{name}.md").write_text(page, encoding="utf-8")
