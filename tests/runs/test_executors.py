"""Who does a run, how it is stopped, and what becomes of a worker's death: the same results, each exactly once."""

from __future__ import annotations

from dataclasses import replace

import pytest
from dragtext.sdk.batch.executors import processes, serial
from dragtext.sdk.batch.folder import RunFolder
from dragtext.sdk.batch.tasks import RequestSource, grouped
from dragtext.sdk.batch.worker import Plan, undone
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import InputError, ModelError

from .conftest import Deadly, results


def never() -> bool:
    return False


@pytest.fixture
def by_one(plan, groups):
    """The results of this process alone."""
    made = plan("serial")
    serial(made, groups, "cpu", lambda row: None, never)
    return results(made.folder)


def test_one_process_pays_for_a_picture_once_and_writes_all(plan, groups, tmp_path):
    made, told = plan("run"), []
    serial(made, groups, "cpu", told.append, never)
    assert [(row["item"], row["arm"]) for row in told] == [
        ("a", "plain"), ("a", "text"), ("b", "plain"), ("b", "text"), ("c", "plain"), ("d", "plain"),
    ]  # fmt: skip
    first, second = told[:2]
    assert "invert" in first["seconds"]
    assert second["seconds"].get("invert", 0) < first["seconds"]["invert"]  # kept from the first
    for row in told:
        assert not row["error"]
        assert (made.folder / row["picture"]).is_file()
    assert RunFolder(made.folder).manifest()["model"]["name"] == "embedded"
    assert (made.folder / "pictures" / "a" / "original.png").is_file()


def test_a_stopped_run_goes_on_and_does_nothing_twice(plan, groups, by_one):
    made, told = plan("run"), []
    serial(made, groups, "cpu", told.append, lambda: len(told) >= 3)
    assert len(told) == 3
    assert [group.name for group in undone(RunFolder(made.folder), groups)] == ["b", "c", "d"]
    serial(made, groups, "cpu", told.append, never)
    assert len(told) == 6
    assert results(made.folder) == by_one


def test_what_cannot_be_edited_is_a_row_and_is_tried_again(plan, tasks, pictures):
    made, told = plan("run"), []
    picture = pictures[2].read_bytes()
    pictures[2].write_bytes(b"no picture")
    serial(made, grouped(tasks), "cpu", told.append, never)
    failed = [row for row in told if row["error"]]
    assert [row["item"] for row in failed] == ["c"]
    assert len(told) == 6
    pictures[2].write_bytes(picture)
    serial(made, grouped(tasks), "cpu", told.append, never)
    assert [row["item"] for row in told[6:]] == ["c"]
    assert not told[-1]["error"]


def test_an_unforeseen_fault_costs_one_edit(plan, tasks, monkeypatch):
    made, told = plan("run"), []
    opening = RequestSource.open

    def broken(self):
        if self.image.stem == "a":
            raise ZeroDivisionError("by nobody")
        return opening(self)

    monkeypatch.setattr(RequestSource, "open", broken)
    serial(made, grouped(tasks), "cpu", told.append, never)
    assert [row["error"] for row in told[:2]] == ["ZeroDivisionError: by nobody"] * 2
    assert not any(row["error"] for row in told[2:])


def test_what_others_have_in_hand_is_left_to_them(plan, groups):
    made, told = plan("run"), []
    with RunFolder(made.folder).claim("b") as ours:
        assert ours
        serial(made, groups, "cpu", told.append, never)
    assert sorted({row["item"] for row in told}) == ["a", "c", "d"]


def test_points_of_one_edits_way_are_kept_from_one_drag(plan, tasks, monkeypatch):
    made, told, drags = plan("run"), [], []
    drag = Editor.drag
    monkeypatch.setattr(Editor, "drag", lambda self, *a, **b: drags.append(a) or drag(self, *a, **b))
    task = tasks[-1]
    points = [replace(task, arm=f"plain,at={at}", at=at) for at in (1.0, 0.0)]
    serial(made, grouped([task, *points]), "cpu", told.append, never)
    assert len(drags) == 1
    end, whole, begin = ((made.folder / row["picture"]).read_bytes() for row in told)
    assert end == whole != begin


def test_two_processes_of_which_one_is_killed_do_everything_once(plan, tasks, by_one, tmp_path):
    deadly = [
        replace(task, source=Deadly(task.source, tmp_path / "died")) if task.item == "b" else task for task in tasks
    ]
    made, told = plan("run"), []
    processes(made, grouped(deadly), ["cpu", "cpu"], told.append, never)
    assert (tmp_path / "died").exists()
    assert results(made.folder) == by_one
    assert len(told) == 6


def test_a_worker_that_died_alone_is_replaced(plan, tasks, tmp_path):
    made, told = plan("run"), []
    deadly = replace(tasks[-1], source=Deadly(tasks[-1].source, tmp_path / "died"))
    processes(made, grouped([deadly]), ["cpu"], told.append, never)
    assert (tmp_path / "died").exists()
    assert [row["item"] for row in told] == ["d"]


def test_a_model_that_cannot_be_loaded_ends_the_run_with_its_sentence(plan, groups, tmp_path):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    made = Plan(plan("run").folder, {"source": str(broken)}, threads=1)
    with pytest.raises(ModelError, match="broken"):
        processes(made, groups, ["cpu"], lambda row: None, never)


def test_a_ray_cluster_of_two_of_which_one_is_killed_does_everything_once(plan, tasks, by_one, tmp_path):
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from dragtext.sdk.batch.on_ray import Cluster, on_ray

    deadly = [
        replace(task, source=Deadly(task.source, tmp_path / "died")) if task.item == "b" else task for task in tasks
    ]
    made, told = plan("run"), []
    on_ray(made, grouped(deadly), Cluster("local", 2), told.append, never)
    assert (tmp_path / "died").exists()
    assert results(made.folder) == by_one
    assert len(told) == 6


def test_without_ray_a_sentence_says_what_to_install(plan, groups, monkeypatch):
    import sys

    from dragtext.sdk.batch.on_ray import Cluster, on_ray

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'dragtext\[ray\]'"):
        on_ray(plan("run"), groups, Cluster(), lambda row: None, never)
