"""One part of a diffusers folder: its config, and which of the files beside it are its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ..errors import ModelError
from .weights import refuse_pickle

# Whole precision first; the weights before averaging come last, as training went on from them.
VARIANTS = ("", "fp32", "fp16", "bf16")
LAST = ("non_ema",)


def read_config(path: Path, folder: Path) -> dict[str, Any]:
    """The JSON object in a file of a diffusers folder."""
    shown = path.relative_to(folder).as_posix()
    if not path.is_file():
        raise ModelError(f"{folder.name} is no complete diffusers folder: {shown} is missing.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError):
        _damaged(folder, shown)
    if not isinstance(content, dict):
        _damaged(folder, shown)
    return content


def weight_files(folder: Path, label: str, base: str) -> list[Path]:
    """The safetensors files of one variant: a single one, or all shards.

    base: how the libraries begin the names; others are taken where there is nothing of that name. Where several
    variants lie side by side, a whole one is taken before one with shards missing.
    """
    found = sorted(
        path for path in folder.glob("*") if path.suffix.lower() == ".safetensors" and "lora" not in path.name
    )
    if not found:
        pickles = sorted(folder.glob("*.bin"))
        if pickles:
            refuse_pickle(pickles[0])
        raise ModelError(
            f"{label} is no complete diffusers folder: {folder.name} has no .safetensors weights; download it again."
        )
    groups: dict[tuple[str, str], dict[int, Path]] = {}
    totals: dict[tuple[str, str], int] = {}
    for path in found:
        stem, variant, number, total = _spelling(path)
        # Single files and shards of one variant are two ways to the same weights.
        key = (stem, variant + (" in shards" if total else ""))
        groups.setdefault(key, {})[number] = path
        totals[key] = total or 1
    for stem, variant, names in _indexes(folder):  # shards may have any name there
        key = (stem, f"{variant} in shards")
        groups[key] = {number: folder / name for number, name in enumerate(names, 1) if (folder / name).is_file()}
        totals[key] = len(names)

    def rank(key: tuple[str, str]) -> tuple[bool, bool, int, str]:
        variant = key[1].removesuffix(" in shards")
        place = VARIANTS.index(variant) if variant in VARIANTS else len(VARIANTS) + (variant in LAST)
        return len(groups[key]) < totals[key], key[0] != base, place, key[1]

    best = min(groups, key=rank)
    shards, total = groups[best], totals[best]
    if len(shards) < total:
        number = next(number for number in range(1, total + 1) if number not in shards)
        raise ModelError(
            f"{label} lacks part {number} of {total} of the weights in {folder.name}; download the folder again."
        )
    return [shards[number] for number in sorted(shards)]


def _indexes(folder: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(name, variant, files) of every table of shards."""
    for path in sorted(folder.glob("*.json")):
        spelled = re.fullmatch(r"([^.]+)(?:\.(\w+))?\.safetensors\.index(?:\.(\w+))?\.json", path.name)
        if spelled:
            table = read_config(path, folder.parent).get("weight_map")
            if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
                _damaged(folder.parent, f"{folder.name}/{path.name}")
            yield spelled[1], spelled[2] or spelled[3] or "", sorted(set(table.values()))


def matched(
    wanted: Iterable[str], stored: Iterable[str], original: Callable[[Iterable[str]], Mapping[str, str]]
) -> dict[str, str]:
    """{name that the libraries use now: name in the files}, which may be an older or a newer one.

    original: the original names of both, by which they are the same. Names that are not stored stay as they are.
    """
    known = {common: name for name, common in original(stored).items()}
    return {name: known.get(common, name) for name, common in original(wanted).items()}


def _spelling(path: Path) -> tuple[str, str, int, int]:
    """(name, variant, number of the shard, shards) of `model.fp16-00001-of-00002.safetensors` and its like."""
    name = path.name[: -len(".safetensors")]
    number = total = 0
    if m := re.search(r"-(\d{5})-of-(\d{5})", name):
        number, total = int(m[1]), int(m[2])
        name = name[: m.start()] + name[m.end() :]
    stem, _, variant = name.partition(".")
    return stem, variant, number, total


def _damaged(folder: Path, shown: str) -> NoReturn:
    raise ModelError(f"{folder.name} has a damaged {shown}; download the folder again.")
