"""Presets: one file, whole or not at all."""

from __future__ import annotations

import json

import pytest
from dragtext.extension.presets import MOST, Presets, UnknownPresetError
from dragtext.sdk.errors import InputError


def test_presets_come_back_in_the_order_they_were_made(tmp_path):
    presets = Presets(tmp_path / "new" / "folder")
    assert presets.all() == {}
    presets.put("zwei Ohren", {"steps": 5, "lr": None})
    presets.put("a", {"method": "warp"})
    presets.put("zwei Ohren", {"steps": 6})
    again = Presets(tmp_path / "new" / "folder")
    assert list(again.all().items()) == [("zwei Ohren", {"steps": 6}), ("a", {"method": "warp"})]
    again.delete("a")
    assert list(presets.all()) == ["zwei Ohren"]
    with pytest.raises(UnknownPresetError):
        presets.delete("a")


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 61, "\0"])
def test_names_that_are_none(name, tmp_path):
    with pytest.raises(InputError, match="name of a preset"):
        Presets(tmp_path).put(name, {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"), [([], "object"), ({"stepz": 1}, "Unknown setting"), ({"steps": -1}, "Setting 'steps'")]
)
def test_settings_that_are_none(settings, words, tmp_path):
    with pytest.raises(InputError, match=words):
        Presets(tmp_path).put("a", settings)


@pytest.mark.parametrize("content", ["{", "[]", '{"a": 5}', "[" * 100_000, "\xff"])
def test_a_damaged_file_is_a_sentence_and_stays(content, tmp_path):
    (tmp_path / "presets.json").write_bytes(content.encode("latin1"))
    for attempt in (lambda p: p.all(), lambda p: p.put("a", {}), lambda p: p.delete("a")):
        with pytest.raises(InputError, match="mend or remove"):
            attempt(Presets(tmp_path))
    assert (tmp_path / "presets.json").read_bytes() == content.encode("latin1")


def test_what_todays_settings_do_not_have_is_left_out_and_not_lost(tmp_path, caplog):
    (tmp_path / "presets.json").write_text(json.dumps({"old": {"gone": 1}, "new": {"steps": 3}}))
    presets = Presets(tmp_path)
    assert presets.all() == {"new": {"steps": 3}}
    assert "old cannot be used any more" in caplog.text
    presets.put("more", {})
    assert set(json.loads((tmp_path / "presets.json").read_text())) == {"old", "new", "more"}


def test_there_is_an_end_of_them(tmp_path):
    (tmp_path / "presets.json").write_text(json.dumps({str(k): {} for k in range(MOST)}))
    with pytest.raises(InputError, match="delete one first"):
        Presets(tmp_path).put("one more", {})
    Presets(tmp_path).put("5", {"steps": 2})


def test_where_they_lie(tmp_path, monkeypatch):
    monkeypatch.setenv("DRAGTEXT_CONFIG_DIR", str(tmp_path))
    assert Presets().path == Presets(tmp_path / "other").path == tmp_path / "presets.json"
    monkeypatch.delenv("DRAGTEXT_CONFIG_DIR")
    assert Presets(tmp_path / "other").path == tmp_path / "other" / "presets.json"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert "dragtext" in str(Presets().path)


def test_a_folder_that_cannot_be_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        Presets(tmp_path / "file").put("a", {})
