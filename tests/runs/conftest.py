"""A run that takes seconds: four pictures of noise, two of them dragged twice, on the embedded model's warped start."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from dragtext.sdk.batch.tasks import Group, Opened, RequestSource, Source, Task, grouped
from dragtext.sdk.batch.worker import Plan
from dragtext.sdk.request import Request, make_drags
from PIL import Image

from ..helpers import noise

QUICK = {
    "method": "dragdiffusion",
    "start": "none",
    "steps": 1,
    "lora_steps": 0,
    "inference_steps": 2,
    "resolution": 64,
}


@dataclass(frozen=True)
class Deadly:
    """A picture whose opening ends the process the first time, as running out of memory does."""

    source: Source
    mark: Path

    def open(self) -> Opened:
        if not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.source.open()


@pytest.fixture
def pictures(tmp_path) -> list[Path]:
    paths = [tmp_path / "pictures" / f"{name}.png" for name in "abcd"]
    paths[0].parent.mkdir()
    for seed, path in enumerate(paths):
        Image.fromarray(noise(64, 64, seed=seed)).save(path)
    return paths


@pytest.fixture
def tasks(pictures) -> list[Task]:
    request = Request(make_drags([((20, 20), (40, 30))]), "a red cat")
    return [
        Task(path.stem, path.stem, arm, 7, RequestSource(path, request), {**QUICK, "text": arm == "text"}, "noise")
        for path in pictures
        for arm in (("plain", "text") if path.stem in "ab" else ("plain",))
    ]


@pytest.fixture
def groups(tasks) -> tuple[Group, ...]:
    return grouped(tasks)


@pytest.fixture
def manifest() -> dict:
    return {"title": "test", "arms": {"plain": {}, "text": {"text": True}}, "seeds": [7], "items": 4, "metrics": {}}


@pytest.fixture
def plan(tmp_path, manifest):
    """Makes a plan for a folder of that name, begun."""
    from dragtext.sdk.batch.folder import RunFolder

    def make(name: str) -> Plan:
        RunFolder.begin(tmp_path / name, manifest)
        return Plan(tmp_path / name, threads=1)

    return make


def results(folder: Path) -> dict:
    """What came out, without times: rows by key, and the bytes of every picture."""
    rows = {}
    for line in (folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        key = row["item"], row["arm"], row["seed"]
        assert key not in rows, f"{key} was done twice"
        rows[key] = {name: value for name, value in row.items() if name not in ("seconds", "peak_memory")}
    pictures = {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.png"))}
    return {"rows": rows, "pictures": pictures}
