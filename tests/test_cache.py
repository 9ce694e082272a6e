"""The disk cache: round trip, damage, limits, foreign files, and folders that cannot be written or read."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path

import pytest
import torch
from dragtext.sdk.model import cache

KEY = cache.make_key("k")
TENSORS = {"a": torch.arange(3.0)}


def test_round_trip():
    assert cache.load_tensors(KEY) is None
    cache.save_tensors(KEY, TENSORS)
    assert torch.equal(cache.load_tensors(KEY)["a"], TENSORS["a"])
    assert cache.cache_size() > 0
    assert [p.name for p in cache.cache_folder().iterdir()] == [f"{KEY}.safetensors"]


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\0\0\0\0\0\0\0{}      ", "half"])
def test_a_damaged_entry_is_dropped_with_a_warning(caplog, content):
    cache.save_tensors(KEY, {"a": torch.arange(300.0)})
    (path,) = cache.cache_folder().iterdir()
    path.write_bytes(path.read_bytes()[:600] if content == "half" else content)
    with caplog.at_level(logging.WARNING):
        tensors = cache.load_tensors(KEY)
    if content == b"\x08\0\0\0\0\0\0\0{}      ":  # a whole file of no tensors, which whoever asked finds unfit
        assert tensors == {}
        return
    assert tensors is None
    assert "damaged" in caplog.text
    assert not path.exists()


def test_the_least_recently_used_entry_goes_first(monkeypatch):
    monkeypatch.setenv("DRAGTEXT_CACHE_LIMIT_MB", "0.01")
    new, old, older = (cache.make_key(name) for name in ("new", "old", "older"))
    for age, key in enumerate((old, older)):
        cache.save_tensors(key, {"a": torch.zeros(1000)})
        path = cache.cache_folder() / f"{key}.safetensors"
        os.utime(path, (1000 - age, 1000 - age))
    cache.save_tensors(new, {"a": torch.zeros(1000)})
    assert {p.stem for p in cache.cache_folder().iterdir()} == {new, old}


@pytest.mark.parametrize("named", ["by the environment", "by the host"])
def test_nothing_that_is_not_ours_is_ever_touched(tmp_path, monkeypatch, named):
    """Somebody points the cache at a folder of checkpoints; neither the limit nor `clear` may cost one of them."""
    folder = tmp_path / "models"
    if named == "by the environment":
        monkeypatch.setenv("DRAGTEXT_CACHE_DIR", str(folder))
    else:
        monkeypatch.delenv("DRAGTEXT_CACHE_DIR")
        monkeypatch.setattr(cache, "_folder", folder)
    monkeypatch.setenv("DRAGTEXT_CACHE_LIMIT_MB", "0.01")
    own = folder / cache.FOLDER
    foreign = [
        folder / "checkpoint.safetensors",
        folder / f"{'a' * 40}.safetensors",
        own / "checkpoint.safetensors",
        own / f"{'a' * 39}.safetensors",
        own / f"{'A' * 40}.safetensors",
        own / f"{'a' * 40}.safetensors.bak",
        own / "write.tmp",
        own / "below" / f"{'a' * 40}.safetensors",
    ]
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(20_000))
        os.utime(path, (1000, 1000))
    (own / f"{'b' * 40}.safetensors").mkdir()
    for name in "abcd":
        cache.save_tensors(cache.make_key(name), {"a": torch.zeros(1000)})
    assert 0 < cache.cache_size() < 10_500
    cache.clear()
    assert cache.cache_size() == 0
    assert all(path.read_bytes() == bytes(20_000) for path in foreign)
    assert (own / f"{'b' * 40}.safetensors").is_dir()


def test_abandoned_writes_are_counted_and_cleared(monkeypatch):
    cache.save_tensors(KEY, TENSORS)
    before = cache.cache_size()
    old, fresh = (cache.cache_folder() / f"{KEY}-{name}.tmp" for name in ("abcd_123", "xyz45678"))
    for path in (old, fresh):
        path.write_bytes(bytes(5000))
    hours_ago = time.time() - 3 * 3600
    os.utime(old, (hours_ago, hours_ago))
    assert cache.cache_size() == before + 10_000
    assert cache.clear() == before + 5000
    assert fresh.exists()  # perhaps another process's write in progress
    old.write_bytes(bytes(5000))
    os.utime(old, (hours_ago, hours_ago))
    cache.save_tensors(KEY, TENSORS)
    assert not old.exists()
    assert fresh.exists()


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", "~/dt")
    cache.save_tensors(KEY, TENSORS)
    assert cache.cache_folder() == tmp_path / "home" / "dt" / cache.FOLDER
    assert cache.load_tensors(KEY) is not None
    assert not (tmp_path / "~").exists()
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", "~nobody-of-this-name/dt")  # whose home nobody knows
    cache.save_tensors(KEY, TENSORS)
    assert cache.load_tensors(KEY) is not None


def test_an_entry_of_somebody_else_is_used_though_its_time_cannot_be_set(monkeypatch, caplog):
    cache.save_tensors(KEY, TENSORS)

    def refuse(*_arguments, **_more):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(cache.load_tensors(KEY)["a"], TENSORS["a"])
    assert not caplog.records
    assert cache.cache_size() > 0


def test_an_entry_that_cannot_be_read_is_not_deleted(monkeypatch, caplog):
    cache.save_tensors(KEY, TENSORS)

    def refuse(*_arguments):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cache, "load_file", refuse)
    with caplog.at_level(logging.WARNING):
        assert cache.load_tensors(KEY) is None
    assert "cannot be read" in caplog.text
    assert cache.cache_size() > 0


def test_a_read_only_cache_serves(monkeypatch, caplog):
    cache.save_tensors(KEY, TENSORS)
    folder = cache.cache_folder()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    real = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda *a, **k: (_ for _ in ()).throw(PermissionError(1, "no")))
    try:
        assert cache.load_tensors(KEY) is not None
        assert cache.clear() == 0
    finally:
        monkeypatch.setattr(Path, "unlink", real)
        folder.chmod(stat.S_IRWXU)


def test_an_unwritable_folder_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", str(blocked / "below"))
    with caplog.at_level(logging.WARNING):
        cache.save_tensors(KEY, TENSORS)
    assert "cannot be written" in caplog.text
    assert cache.load_tensors(KEY) is None
    assert cache.cache_size() == cache.clear() == 0


@pytest.mark.parametrize("text", ["much", "inf", "nan"])
def test_a_limit_that_is_no_number_leaves_the_default(monkeypatch, text):
    monkeypatch.setenv("DRAGTEXT_CACHE_LIMIT_MB", text)
    assert cache.cache_limit() == cache.DEFAULT_LIMIT_MB * 2**20


def test_keys_depend_on_every_part():
    assert cache.make_key("a", 1) != cache.make_key("a", 2)
    assert cache.make_key("ab", "c") != cache.make_key("a", "bc")
