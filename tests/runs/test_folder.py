"""The run's folder: begun, gone on with, shared, damaged."""

from __future__ import annotations

import json

import pytest
from dragtext.sdk.batch.folder import RunFolder
from dragtext.sdk.batch.tasks import RequestSource, Task, file_name, grouped
from dragtext.sdk.errors import InputError
from dragtext.sdk.request import Request

MODEL = {"name": "tiny", "fingerprint": "abc"}


def row(item: str, error: str = "", **more) -> dict:
    return {"item": item, "arm": "plain", "seed": 1, "error": error, **more}


def test_rows_are_read_back_and_the_last_of_one_key_counts(tmp_path, manifest):
    folder = RunFolder.begin(tmp_path / "run", manifest)
    folder.add(row("a", "It failed."))
    folder.add(row("b"))
    folder.add(row("a", metrics={"remains": 0.5}))
    assert folder.done() == {("a", "plain", 1), ("b", "plain", 1)}
    assert folder.rows()["a", "plain", 1]["metrics"] == {"remains": 0.5}


def test_a_failure_is_not_done(tmp_path, manifest):
    folder = RunFolder.begin(tmp_path / "run", manifest)
    folder.add(row("a", "It failed."))
    assert not folder.done()
    assert folder.rows()["a", "plain", 1]["error"] == "It failed."


def test_a_line_that_a_crash_cut_short_costs_only_itself(tmp_path, manifest):
    folder = RunFolder.begin(tmp_path / "run", manifest)
    folder.add(row("a"))
    with (tmp_path / "run" / "rows.jsonl").open("a") as file:
        file.write('{"item": "b", "arm": "pl')
    folder.add(row("c"))
    assert [key[0] for key in folder.rows()] == ["a", "c"]


def test_what_others_add_is_seen(tmp_path, manifest):
    one, other = (RunFolder.begin(tmp_path / "run", manifest) for _ in range(2))
    one.add(row("a"))
    assert [key[0] for key in other.rows()] == ["a"]
    one.add(row("b"))
    other.add(row("c"))
    assert [key[0] for key in one.rows()] == [key[0] for key in other.rows()] == ["a", "b", "c"]


def test_a_line_that_is_still_being_written_is_read_when_it_is_whole(tmp_path, manifest):
    folder = RunFolder.begin(tmp_path / "run", manifest)
    line = json.dumps(row("a")) + "\n"
    with (tmp_path / "run" / "rows.jsonl").open("a") as file:
        file.write(line[:20])
        file.flush()
        assert not folder.rows()
        file.write(line[20:])
    assert [key[0] for key in folder.rows()] == ["a"]


def test_who_waits_too_long_for_another_is_told(tmp_path, manifest, monkeypatch):
    monkeypatch.setattr("dragtext.sdk.batch.folder._WAIT", 0.05)
    one, other = (RunFolder.begin(tmp_path / "run", manifest) for _ in range(2))
    with one._alone("rows"), pytest.raises(InputError, match="to itself for a minute"):
        other.add(row("a"))


def test_a_group_is_one_holders(tmp_path, manifest):
    one, other = (RunFolder.begin(tmp_path / "run", manifest) for _ in range(2))
    with one.claim("a") as first, other.claim("a") as second, other.claim("b") as third:
        assert (first, second, third) == (True, False, True)
    with other.claim("a") as again:
        assert again


def test_a_run_is_gone_on_with_and_can_grow(tmp_path, manifest):
    begun = RunFolder.begin(tmp_path / "run", manifest).manifest()
    RunFolder.begin(tmp_path / "run", manifest).confirm(MODEL, "cpu")
    more = {**manifest, "arms": {"third": {"lr": 0.1}}, "items": 9}
    found = RunFolder.begin(tmp_path / "run", more).manifest()
    assert found["created"] == begun["created"]
    assert found["items"] == 9
    assert set(found["arms"]) == {"plain", "text", "third"}
    assert found["model"] == MODEL


def test_what_would_mix_two_runs_is_refused(tmp_path, manifest):
    folder = RunFolder.begin(tmp_path / "run", manifest)
    folder.confirm(MODEL, "cpu")
    folder.confirm(MODEL, "cuda:1")
    assert folder.manifest()["device"] == "cpu, cuda:1"
    with pytest.raises(InputError, match="of the model tiny, not other; give another folder"):
        folder.confirm({"name": "other", "fingerprint": "def"}, "cpu")
    with pytest.raises(InputError, match="other settings for plain"):
        RunFolder.begin(tmp_path / "run", {**manifest, "arms": {"plain": {"lr": 1}}})


@pytest.mark.parametrize("content", ["", "[]", '{"format": 99, "arms": {}}', '{"format": 1}'])
def test_a_folder_that_holds_no_run_is_said_so(tmp_path, manifest, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"no run that can be read|of another version"):
        RunFolder.begin(tmp_path, manifest)


def test_a_folder_with_other_files_is_left_alone(tmp_path, manifest):
    (tmp_path / "holiday.png").touch()
    with pytest.raises(InputError, match="holds other files and no run"):
        RunFolder.begin(tmp_path, manifest)
    assert not (tmp_path / "manifest.json").exists()


def test_names_are_fit_for_files_and_never_meet(tmp_path):
    assert file_name("../a b:c") == "a-b-c"
    assert file_name("///") == "item"
    source = RequestSource(tmp_path / "a.png", Request(()))
    with pytest.raises(InputError, match="names must differ"):
        grouped([Task("a b", "1", "plain", 1, source), Task("a-b", "2", "plain", 1, source)])


def test_a_manifest_is_json_for_everybody(tmp_path, manifest):
    RunFolder.begin(tmp_path / "run", manifest)
    found = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert found["format"] == 1
