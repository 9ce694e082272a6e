"""`dragtext sweep`: the grid's edits, its table and contact sheet, and going on after a stop."""

from __future__ import annotations

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from dragtext import sdk
from dragtext.sdk.batch.grid import cells, parse_axis
from dragtext.sdk.batch.tasks import arm_name, grouped
from dragtext.sdk.picture.reading import LoadedImage
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import Settings
from PIL import Image

from ..helpers import noise

BASE = Settings(method="dragdiffusion", steps=2, lora_steps=0, inference_steps=4)
AXES = [("method", ["dragdiffusion", "dragnoise"]), ("text_weight", [0, 0.1, 10])]
REQUEST = Request(make_drags([((20, 20), (60, 50))]), "a cat", None, BASE)


def grid_of(axes, request=REQUEST, path=Path("in.png"), **more):
    return cells(axes, path, LoadedImage.of_numbers(noise(), None, None), request, **more)


def test_axes_are_read():
    assert parse_axis("text_weight=0,0.1,10") == ("text_weight", [0, 0.1, 10])
    assert parse_axis("method=gooddrag,freedrag") == ("method", ["gooddrag", "freedrag"])
    assert parse_axis("feature-block=1,4") == ("feature_block", [1, 4])
    assert parse_axis("text=true,false") == ("text", [True, False])


@pytest.mark.parametrize("axes", [[], [("seed", list(range(500)))], [("seed", [1]), ("seed", [2])], [("lr", [-1])]])
def test_a_bad_grid_is_refused_before_it_runs(axes):
    with pytest.raises(sdk.InputError):
        grid_of(axes)


@pytest.mark.parametrize("text", ["speed=1", "lr", "lr=", "lr=1,,2"])
def test_a_bad_axis_is_refused(text):
    with pytest.raises(sdk.InputError):
        parse_axis(text)


def test_cells_are_edits_of_one_item_the_last_axis_fastest():
    grid = grid_of(AXES)
    assert [(cell.varied["method"], cell.varied["text_weight"]) for cell in grid] == [
        (method, weight) for method in AXES[0][1] for weight in AXES[1][1]
    ]
    assert len({cell.task.key for cell in grid}) == 6
    assert len({(cell.task.item, cell.task.group) for cell in grid}) == 1
    asked = grid[5].task.asked
    assert (asked.method, asked.text_weight, asked.steps, asked.seed) == ("dragnoise", 10, 2, BASE.seed)
    assert [cell.task.seed for cell in grid_of([("seed", [1, 2])])] == [1, 2]


def test_for_several_workers_each_is_a_group():
    assert len({cell.task.group for cell in grid_of(AXES, together=False)}) == 6
    assert {cell.task.item for cell in grid_of(AXES, together=False)} == {grid_of(AXES)[0].task.item}


def test_another_precision_does_not_meet_old_results():
    assert grid_of(AXES, how="float16")[0].task.item != grid_of(AXES)[0].task.item


def test_of_a_texts_values_any_may_stand_in_one_grid():
    """Also one that differs in its case or its marks alone, a number, and none."""
    axis = parse_axis("negative_prompt=,Blurry,blurry,a cat,a-cat,5")
    assert axis == ("negative_prompt", ["", "Blurry", "blurry", "a cat", "a-cat", "5"])
    grid = grid_of([axis, ("guidance", [2, 3])])
    assert len(grouped(cell.task for cell in grid)[0].tasks) == 12


def test_a_name_may_be_longer_than_a_files():
    axes = [(name, [0.001, 0.002]) for name in ("lr", "text_lr", "text_weight", "mask_weight", "strength", "lora_lr")]
    (group,) = grouped(cell.task for cell in grid_of(axes))
    names = {arm_name(task.arm) for task in group.tasks}
    assert len(names) == 64
    assert max(map(len, names)) < 100


def test_a_value_that_is_given_twice_counts_once():
    assert parse_axis("lr=0.1,0.10,0.2") == ("lr", [0.1, 0.2])


@pytest.mark.parametrize(
    "other",
    [
        {"drags": make_drags([((20, 20), (50, 50))])},
        {"prompt": "a dog"},
        {"mask": "data:"},
        {"settings": Settings(lr=1)},
    ],
    ids=str,
)
def test_another_request_does_not_meet_old_results(other):
    (cell,), (changed,) = grid_of([("seed", [1])]), grid_of([("seed", [1])], replace(REQUEST, **other))
    assert cell.task.item != changed.task.item


@pytest.fixture
def swept(model_folder, tmp_path, run):
    """The command on a picture of noise, in a folder of its own; returns (code, rows that --json told, stderr)."""
    Image.fromarray(noise()).save(tmp_path / "in.png")
    request = tmp_path / "request.json"
    request.write_text(REQUEST.to_json())

    def sweep(*axes):
        vary = [part for axis in axes for part in ("--vary", axis)]
        asked = ("sweep", tmp_path / "in.png", "--request", request, "--model", model_folder, "-o", tmp_path / "grid")
        code, told, error = run(*asked, "--json", *vary)
        return code, json.loads(told)["rows"] if code == 0 else [], error

    return sweep


def test_the_table_and_the_sheet(swept, tmp_path):
    code, rows, _ = swept("method=dragdiffusion,dragnoise", "text_weight=0,0.1,10", "steps=1,2")
    assert code == 0
    folder = tmp_path / "grid"
    with (folder / "table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["method"], line["text_weight"], line["steps"], line["updates"]) for line in lines] == [
        (method, weight, steps, steps) for method in AXES[0][1] for weight in ("0", "0.1", "10") for steps in ("1", "2")
    ]
    assert all(float(line["distance_left"]) >= 0 and not line["error"] for line in lines)
    assert json.loads((folder / "table.json").read_text()) == rows
    with Image.open(folder / "contact.png") as sheet:
        assert sheet.width == 2 * 93 + 6
    # Every cell really is another edit.
    assert len({(folder / row["picture"]).read_bytes() for row in rows}) == len(rows) == 12


def test_a_run_that_was_stopped_keeps_its_table_and_goes_on(swept, tmp_path, monkeypatch):
    real = sdk.Editor.drag

    def with_ctrl_c(self, *arguments, **options):
        if options["settings"].text_weight == 0.1:
            signal.raise_signal(signal.SIGINT)
        return real(self, *arguments, **options)

    monkeypatch.setattr(sdk.Editor, "drag", with_ctrl_c)
    code, _, error = swept("text_weight=0,0.1,10")
    assert code == 130
    assert "goes on from there" in error
    done = json.loads((tmp_path / "grid" / "table.json").read_text())
    assert [row["text_weight"] for row in done] == [0, 0.1]  # the edit in hand was finished
    monkeypatch.undo()
    code, rows, error = swept("text_weight=0,0.1,10")
    assert (code, len(rows)) == (0, 3)
    assert "2 of 3 are done already" in error
    assert rows[:2] == done


def test_a_cell_that_fails_is_a_row_and_not_the_end(swept, monkeypatch):
    real = sdk.Editor.drag

    def fails_once(self, drags, *, settings, **options):
        if settings.text_weight == 0.1:
            raise sdk.ModelError("no.")
        return real(self, drags, settings=settings, **options)

    monkeypatch.setattr(sdk.Editor, "drag", fails_once)
    assert [row["error"] for row in swept("text_weight=0,0.1")[1]] == ["", "no."]
    monkeypatch.undo()
    assert [row["error"] for row in swept("text_weight=0,0.1")[1]] == ["", ""]


def test_a_folder_of_somebody_elses_stays_as_it_is(swept, tmp_path):
    (tmp_path / "grid").mkdir()
    (tmp_path / "grid" / "letter.txt").write_text("dear")
    code, _, error = swept("text_weight=0,0.1")
    assert code == 2
    assert "holds other files" in error
    assert {path.name for path in (tmp_path / "grid").iterdir()} <= {"letter.txt", "claims"}
