"""The disk cache: round trip, damage, pruning, and a folder that cannot be written."""

from __future__ import annotations

import logging
import os

import torch
from dragtext.sdk.model import cache


def test_round_trip():
    assert cache.load_tensors("k") is None
    cache.save_tensors("k", {"a": torch.arange(3.0)})
    assert torch.equal(cache.load_tensors("k")["a"], torch.arange(3.0))
    assert cache.cache_size() > 0
    assert [p.suffix for p in cache.cache_folder().iterdir()] == [".safetensors"]


def test_a_damaged_entry_is_dropped_with_a_warning(caplog):
    cache.save_tensors("k", {"a": torch.arange(3.0)})
    (path,) = cache.cache_folder().iterdir()
    path.write_bytes(path.read_bytes()[:20])
    with caplog.at_level(logging.WARNING):
        assert cache.load_tensors("k") is None
    assert "damaged" in caplog.text
    assert not path.exists()


def test_the_least_recently_used_entry_goes_first(monkeypatch):
    monkeypatch.setenv("DRAGTEXT_CACHE_LIMIT_MB", "0.01")
    for age, key in enumerate(("old", "older")):
        cache.save_tensors(key, {"a": torch.zeros(1000)})
        path = cache.cache_folder() / f"{key}.safetensors"
        os.utime(path, (1000 - age, 1000 - age))
    cache.save_tensors("new", {"a": torch.zeros(1000)})
    kept = {p.stem for p in cache.cache_folder().iterdir()}
    assert kept == {"new", "old"}


def test_an_unwritable_folder_costs_only_a_warning(tmp_path, monkeypatch, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", str(blocked / "below"))
    with caplog.at_level(logging.WARNING):
        cache.save_tensors("k", {"a": torch.zeros(1)})
    assert "cannot be written" in caplog.text
    assert cache.load_tensors("k") is None


def test_keys_depend_on_every_part():
    assert cache.make_key("a", 1) != cache.make_key("a", 2)
    assert cache.make_key("ab", "c") != cache.make_key("a", "bc")
