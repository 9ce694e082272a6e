"""`dragtext sweep`: the grid's table and contact sheet, and going on after a stop."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from dragtext import sdk
from dragtext.sdk.batch.grid import cells, parse_axis, run_grid
from dragtext.sdk.errors import InterruptedEditError
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import Settings
from PIL import Image

BASE = Settings(method="dragdiffusion", steps=2, lora_steps=0, inference_steps=4)
AXES = [("method", ["dragdiffusion", "dragnoise"]), ("text_weight", [0, 0.1, 10])]


@pytest.fixture
def request_():
    return Request(make_drags([((20, 20), (60, 50))]), "a cat", None, BASE)


def test_axes_are_read():
    assert parse_axis("text_weight=0,0.1,10") == ("text_weight", [0, 0.1, 10])
    assert parse_axis("method=gooddrag,freedrag") == ("method", ["gooddrag", "freedrag"])
    assert parse_axis("feature-block=1,4") == ("feature_block", [1, 4])
    assert parse_axis("text=true,false") == ("text", [True, False])


@pytest.mark.parametrize("axes", [[], [("seed", list(range(500)))], [("seed", [1]), ("seed", [2])], [("lr", [-1])]])
def test_a_bad_grid_is_refused_before_it_runs(axes):
    with pytest.raises(sdk.InputError):
        cells(axes, BASE)


@pytest.mark.parametrize("text", ["speed=1", "lr", "lr=", "lr=1,,2"])
def test_a_bad_axis_is_refused(text):
    with pytest.raises(sdk.InputError):
        parse_axis(text)


def test_the_table_and_the_sheet(editor, request_, tmp_path):
    rows = run_grid(editor, request_, None, AXES, tmp_path)
    assert [(r["method"], r["text_weight"]) for r in rows] == [(m, w) for m in AXES[0][1] for w in AXES[1][1]]
    with (tmp_path / "table.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["text_weight"] for row in table] == ["0", "0.1", "10"] * 2
    assert all(float(row["distance_left"]) >= 0 and not row["error"] for row in table)
    assert json.loads((tmp_path / "table.json").read_text()) == rows
    assert all((tmp_path / row["picture"]).exists() for row in rows)
    with Image.open(tmp_path / "contact.png") as sheet:
        assert sheet.width == 3 * 93 + 2 * 6
    # Every cell really is another edit.
    pictures = {(tmp_path / row["picture"]).read_bytes() for row in rows}
    assert len(pictures) == len(rows)


def test_a_stopped_run_goes_on_where_it_was(editor, request_, tmp_path):
    done = []
    with pytest.raises(InterruptedEditError, match="goes on"):
        run_grid(
            editor, request_, None, AXES, tmp_path,
            on_cell=lambda number, *_: done.append(number), should_stop=lambda: len(done) > 2,
        )  # fmt: skip
    assert len(json.loads((tmp_path / "table.json").read_text())) == 2
    again = []
    rows = run_grid(editor, request_, None, AXES, tmp_path, on_cell=lambda number, *_: again.append(number))
    assert again == [2, 3, 4, 5]
    assert len(rows) == 6
    again.clear()
    run_grid(editor, request_, None, AXES, tmp_path, on_cell=lambda number, *_: again.append(number))
    assert again == []


def test_another_request_does_not_meet_old_results(editor, request_, tmp_path):
    axes = [("seed", [1])]
    run_grid(editor, request_, None, axes, tmp_path)
    ran = []
    other = Request(make_drags([((20, 20), (50, 50))]), "a cat", None, BASE)
    run_grid(editor, other, None, axes, tmp_path, on_cell=lambda number, *_: ran.append(number))
    assert ran == [0]


def test_varied_steps_are_not_mixed_up_with_the_updates_made(editor, request_, tmp_path):
    rows = run_grid(editor, request_, None, [("steps", [1, 2])], tmp_path)
    assert [(row["steps"], row["updates"]) for row in rows] == [(1, 1), (2, 2)]
    header = (tmp_path / "table.csv").read_text().splitlines()[0].split(",")
    assert len(set(header)) == len(header)


def test_a_repainted_mask_is_another_request(editor, request_, tmp_path):
    ran = []
    mask = np.ones((70, 93), bool)
    for _ in range(2):
        run_grid(editor, request_, mask, [("seed", [1])], tmp_path, on_cell=lambda number, *_: ran.append(number))
        mask = mask.copy()
        mask[:20] = False
    assert ran == [0, 0]


def test_a_failing_cell_is_a_row_and_not_the_end(editor, request_, tmp_path, monkeypatch):
    real = type(editor).drag

    def fails_once(self, drags, *, settings, **options):
        if settings.text_weight == 0.1:
            raise sdk.ModelError("no.")
        return real(self, drags, settings=settings, **options)

    monkeypatch.setattr(type(editor), "drag", fails_once)
    rows = run_grid(editor, request_, None, [("text_weight", [0, 0.1])], tmp_path)
    assert [row["error"] for row in rows] == ["", "no."]
    monkeypatch.undo()
    again = run_grid(editor, request_, None, [("text_weight", [0, 0.1])], tmp_path)
    assert [row["error"] for row in again] == ["", ""]


def test_a_file_that_cannot_be_written_ends_it_and_the_rest_goes_on_later(editor, request_, tmp_path, monkeypatch):
    from dragtext.sdk.picture import files

    real, saved = files.save_image, []

    def full_after_one(image, path, *options):
        if saved:
            raise sdk.InputError(f"The output {path} cannot be written (No space left on device).")
        saved.append(path)
        return real(image, path, *options)

    monkeypatch.setattr(files, "save_image", full_after_one)
    axes = [("text_weight", [0, 0.1, 10])]
    ran = []
    with pytest.raises(sdk.InputError, match="No space left"):
        run_grid(editor, request_, None, axes, tmp_path, on_cell=lambda number, *_: ran.append(number))
    assert ran == [0, 1]
    assert [row["text_weight"] for row in json.loads((tmp_path / "table.json").read_text())] == [0]
    monkeypatch.undo()
    rows = run_grid(editor, request_, None, axes, tmp_path, on_cell=lambda number, *_: ran.append(number))
    assert ran == [0, 1, 1, 2]
    assert len(rows) == 3


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"picture": "gone.png"}', "\xff"])
def test_a_damaged_row_is_made_again(content, editor, request_, tmp_path):
    axes = [("seed", [1])]
    run_grid(editor, request_, None, axes, tmp_path)
    (stored,) = tmp_path.glob("000-*.json")
    stored.write_bytes(content.encode("latin1"))
    ran = []
    (row,) = run_grid(editor, request_, None, axes, tmp_path, on_cell=lambda number, *_: ran.append(number))
    assert ran == [0]
    assert not row["error"]
