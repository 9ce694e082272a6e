"""`dragtext report`: known numbers come out as they are, and nothing that a run folder holds breaks it."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from dragtext import sdk
from dragtext.sdk.command import app
from dragtext.sdk.evaluation.report import write_report
from dragtext.sdk.evaluation.report.numbers import show, show_p
from dragtext.sdk.evaluation.report.svg import Axis
from PIL import Image

from .helpers import noise

REMAINS = {"title": "What remains", "unit": "", "direction": "lower", "definition": "So much of the difference."}
CHANGE = {
    "title": "Change outside, L1",
    "unit": "levels",
    "direction": "lower",
    "definition": "Outside.",
    "source": "us",
}
# By arm: what remains of seven items in two categories. Text takes 0.1 off each; one of the last arm's fails.
ITEMS = 7
PLAIN = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
ARMS = {"plain": PLAIN, "plain+text": tuple(value - 0.1 for value in PLAIN), "other": (1.0,) * 6 + (None,)}
EVIL = "<script>alert(1)</script><img src=https://x.example/a.png onerror=alert(1)>|`*&\"'"


def manifest(**more: Any) -> dict[str, Any]:
    return {
        "format": 1,
        "title": "Made up",
        "command": "dragtext bench scenes --limit 7",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"dragtext": "0.2.0", "python": "3.11"},
        "model": {"name": "tiny", "fingerprint": "abc"},
        "device": "cpu",
        "arms": {name: {"method": "gooddrag", "text": "+text" in name, "lr": 0.02} for name in ARMS},
        "seeds": [0],
        "items": ITEMS,
        "metrics": {"remains": REMAINS, "outside-l1": CHANGE},
        **more,
    }


def row(item: int, arm: str, value: float | None, **more: Any) -> dict[str, Any]:
    failed = {} if value is not None else {"error": "Handle 1 lies outside the picture.", "metrics": {}, "picture": ""}
    return {
        "item": f"move-{item}",
        "group": f"scene-{item}",
        "category": "move" if item < 5 else "turn",
        "arm": arm,
        "seed": 0,
        "error": "",
        "picture": f"pictures/move-{item}/{arm}-0.png",
        "drags": [[[10, 12], [40, 30]]],
        "prompt": "a cat",
        "metrics": {"remains": value, "outside-l1": 0.5 * item},
        "reached": True,
        "stopped": "reached",
        "updates": 3,
        "distance_left": 1.5,
        "seconds": {"invert": 1.0, "drag": 2.0},
        "peak_memory": 2**20,
        **failed,
        **more,
    }


def rows() -> list[dict[str, Any]]:
    return [row(item, arm, value) for arm, values in ARMS.items() for item, value in enumerate(values)]


def write_run(folder: Path, told: Any = None, lines: list[Any] | None = None, pictures: bool = True) -> Path:
    """lines: rows, or text that stands in the file as it is."""
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest() if told is None else told))
    found = rows() if lines is None else lines
    text = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in found]
    (folder / "rows.jsonl").write_text("".join(text))
    for item in range(ITEMS) if pictures else ():
        place = folder / "pictures" / f"move-{item}"
        place.mkdir(parents=True)
        for name in ("original", "truth", *(f"{arm}-0" for arm in ARMS)):
            Image.fromarray(noise(80, 90, seed=item)).save(place / f"{name}.png")
    return folder


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, attribute: str) -> list[str | None]:
        return [found[attribute] for _, found in self.tags if attribute in found]


def made(*folders: Path, **options: Any) -> tuple[Page, list[str]]:
    """The page, and the Markdown's lines."""
    written = write_report(folders, **options)
    page = written.page.read_text(encoding="utf-8")
    return Page(page), written.markdown.read_text(encoding="utf-8").splitlines()


def lines_of(markdown: list[str], start: str) -> list[str]:
    return [line for line in markdown if line.startswith(f"| {start} ")]


@pytest.fixture
def folder(tmp_path):
    return write_run(tmp_path / "run")


def test_the_tables_hold_the_numbers_of_the_rows(folder):
    page, markdown = made(folder, against="other")
    first = {name: lines_of(markdown, name)[0] for name in ARMS}
    assert re.match(r"\| plain \| 7 0 failed \| 0\.500 \\\[0\.\d+, 0\.\d+\\\] \| 1\.500 ", first["plain"])
    assert first["plain+text"].startswith("| plain+text | 7 0 failed | **0.400** ")
    assert first["other"].startswith("| other | 6 1 failed | 1.000 \\[1.000, 1.000\\] | **1.250** ")
    by_category = lines_of(markdown, "other")[1]
    assert by_category.count("1 failed") == 2  # of all, and of its category
    assert by_category.endswith("| 1.000 n 5 | 1.000 n 1 1 failed |")
    # A tenth less on each of seven items: no doubt about the mean, and two of 128 ways in which signs can fall.
    text = lines_of(markdown, "What remains")[0]
    assert "| 7 | 0.500 | 0.400 | **\N{MINUS SIGN}0.100** " in text
    assert text.endswith("| 7 / 0 / 0 | 0.016 |")
    against = lines_of(markdown, "What remains")[1]
    assert "| 6 | 1.000 | 0.450 | **\N{MINUS SIGN}0.550** " in against  # plain, of the items that both did
    assert "21 edits of 7 items by 3 methods on the model tiny; 1 failed." in page.text
    assert "lr" not in "".join(lines_of(markdown, "text"))
    assert lines_of(markdown, "text") == ["| text | false | true | false |"]
    assert "dragtext bench scenes --limit 7" in page.text
    assert "Handle 1 lies outside the picture." in page.text


def test_the_page_needs_nothing_outside_itself(folder):
    page, _ = made(folder)
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.all("src"))
    assert len(page.all("src")) > 20
    assert all(target.startswith("#") for target in page.all("href"))
    assert {target[1:] for target in page.all("href")} <= set(page.all("id"))
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)
    assert {"svg", "table", "img"} <= {tag for tag, _ in page.tags}


def test_whatever_users_wrote_is_shown_and_not_done(tmp_path):
    arms = {EVIL: {"method": EVIL}, f"{EVIL}+text": {"method": EVIL}}
    metrics = {EVIL: {"title": EVIL, "unit": EVIL, "direction": "lower", "definition": EVIL, "source": EVIL}}
    told = manifest(title=EVIL, command=EVIL, arms=arms, metrics=metrics, model={"name": EVIL, "fingerprint": EVIL})
    said = {"prompt": EVIL, "category": EVIL, "stopped": EVIL, "seconds": {EVIL: 1.0}}
    found = [
        row(
            item,
            arm,
            None if item == 3 else 1.0,
            **said,
            **({"error": EVIL} if item == 3 else {"metrics": {EVIL: item}}),
        )
        for arm in arms
        for item in range(4)
    ]
    page, markdown = made(write_run(tmp_path / "run", told, found))
    assert "script" not in {tag for tag, _ in page.tags}
    assert all(source.startswith("data:") for source in page.all("src"))
    assert not [name for _, found in page.tags for name in found if name.startswith("on")]
    assert page.text.count(EVIL) > 10
    assert not [line for line in markdown if re.search(r"(?<!\\)<", line) and not line.startswith("    ")]


@pytest.mark.parametrize(
    ("lines", "note"),
    [
        ([*rows(), '{"item": "move-9", "arm": "pl'], "The last line of rows.jsonl is cut short"),
        (["no JSON\n", "[1]\n", '{"item": 3}\n', *rows()], r"3 lines of rows.jsonl cannot .* nowhere \(1, 2, 3\)"),
        ([*rows(), row(0, "unheard-of", 0.3)], "The manifest does not know these arms, .*: unheard-of."),
        ([*rows(), row(0, "other", 2.0, picture="../../secret.png")], "1 picture cannot be shown"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_left_out_and_said(lines, note, tmp_path):
    Image.fromarray(noise()).save(tmp_path / "secret.png")
    written = write_report([write_run(tmp_path / "run", lines=lines)])
    assert [found for found in written.notes if re.search(note, found)]
    assert re.search(note, Page(written.page.read_text(encoding="utf-8")).text)


def test_odd_values_and_missing_pictures_leave_gaps(tmp_path):
    odd = [None, [], {}, "x", True, 1e400, float("nan"), -1, 10**400]
    keys = list(row(0, "plain", 0.5))[5:]
    lines = [row(0, "plain", 0.5) | {key: value, "seed": n} for n, value in enumerate(odd) for key in keys]
    lines += [row(1, "plain", 0.5) | {"metrics": {"remains": value}, "seed": n} for n, value in enumerate(odd)]
    lines += [row(1, "plain", 0.5) | {"drags": [[[1e300, value], [5, 5]]], "seed": 50} for value in odd]
    told = manifest(
        arms=odd, metrics={"remains": None, "x": [], "y": {"direction": 3}}, seeds="x", items="y", versions=3, model=0
    )
    page, _ = made(write_run(tmp_path / "run", told, lines, pictures=False))
    assert "no picture" in page.text
    assert page.all("src") == []


@pytest.mark.parametrize(
    ("told", "lines", "words"),
    [
        (manifest(format=2), None, "is of the format 2 and this DragText reads format 1"),
        (manifest(format=None), None, "is of the format null"),
        ([1], None, "it holds no JSON object"),
        (None, [], "has no finished item yet"),
        (None, ['{"item": "mo'], "has no finished item yet"),
    ],
)
def test_a_folder_that_is_no_run_gets_a_sentence(told, lines, words, tmp_path):
    folder = write_run(tmp_path / "run", told, lines, pictures=False)
    with pytest.raises(sdk.InputError, match=words):
        write_report([folder])
    assert not (folder / "report.html").exists()


def test_the_command(folder, tmp_path, monkeypatch, capsys):
    def run(*arguments: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dragtext", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            app.main()
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    code, out, _ = run(folder, "-o", tmp_path / "shown.html")
    assert code == 0
    assert "21 edits of 7 items by 3 methods" in out
    assert (tmp_path / "shown.html").is_file()
    assert (tmp_path / "shown.md").is_file()
    for arguments, words in (
        ([tmp_path / "nowhere"], "is not a run folder"),
        ([folder, "-o", tmp_path / "shown.pdf"], "must end in .html"),
        ([folder, "-o", tmp_path / "no" / "shown.html"], "cannot be written"),
        ([folder, "--rank", "beauty"], "there are: remains, outside-l1"),
        ([folder, "--against", "beauty"], "there are: plain, plain+text, other"),
    ):
        code, _, err = run(*arguments)
        assert code == 2
        assert words in " ".join(err.split())
        assert err.count("\n") == 1


def test_what_came_later_wins_seeds_are_one_item_and_drags_weigh(tmp_path):
    three = [[[10, 12], [40, 30]]] + [[[20, 12 + 5 * n], [40, 30]] for n in range(2)]
    lines = [
        row(0, "other", 9.0),
        row(0, "other", 1.0),
        row(0, "other", 2.0, seed=1),
        row(1, "other", 3.0, drags=three),
    ]
    told = manifest(
        seeds=[0, 1],
        arms={"plain": {}, "other": {}},
        metrics={"remains": REMAINS, "outside-l1": {**CHANGE, "pooled": True}},
        question="Does it help?",
        expected="A little.",
    )
    page, markdown = made(write_run(tmp_path / "run", told, lines))
    # Of 1.5 and 3; of 0 by one drag and 0.5 by three; too few items for an interval.
    assert lines_of(markdown, "other")[0].startswith("| other | 2 0 failed | 2.250 | 0.375 |")
    assert "Does it help?" in page.text
    assert "Compared with plain" in page.text  # the first method of an experiment


def test_runs_side_by_side(folder, tmp_path):
    """Arms of one name are told apart, and one name for two definitions stays two columns."""
    told = manifest(title="Another", metrics={"remains": {**REMAINS, "features": "SD 2.1"}, "outside-l1": CHANGE})
    page, markdown = made(folder, write_run(tmp_path / "second", told), output=tmp_path / "both.html")
    heads = next(line for line in markdown if line.startswith("| Method "))
    assert "What remains (Made up)" in heads.replace("\\", "")
    assert "What remains (Another)" in heads.replace("\\", "")
    assert heads.count("Change outside, L1") == 1
    assert "Features in What remains (Another): SD 2.1." in page.text
    assert len(lines_of(markdown, "plain+text (Another)")) > 1
    assert "42 edits of 14 items by 6 methods" in page.text


def test_pictures_shrink_until_they_fit(folder, monkeypatch):
    full = write_report([folder]).page.stat().st_size
    monkeypatch.setattr("dragtext.sdk.evaluation.report.sheets._MOST_BYTES", 100_000)
    monkeypatch.setattr("dragtext.sdk.evaluation.report.sheets._SMALLEST", 16)
    page, _ = made(folder)
    pictures = sum(len(source or "") for source in page.all("src"))
    assert 10_000 < pictures <= 100_000 < full


def test_numbers_and_axes():
    assert show(-0.0004, 3) == "0.000"
    assert show(-1.5, 1, sign=True) == "\N{MINUS SIGN}1.5"
    assert show(1.5, 1, sign=True) == "+1.5"
    assert show(None, 1) == show(float("inf"), 1) == "\N{EN DASH}"
    assert [show_p(p) for p in (1.0, 0.0312, 1e-6)] == ["1.000", "0.031", "<\N{NO-BREAK SPACE}0.001"]
    axis = Axis(0.0, 10.0, 100, 200)
    assert axis.ticks == [0, 2, 4, 6, 8, 10]
    assert axis(5) == 150
    assert Axis(3.0, 3.0, 0, 1).ticks  # one value is a scale, too
