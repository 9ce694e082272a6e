"""Fixtures over a folder of reference trajectories; see `reference_folder`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from dragtext.sdk.model.load import load_model


def reference_folder() -> Path:
    """What DRAGTEXT_REFERENCE names, or ../shared/reference beside the checkout."""
    default = Path(__file__).resolve().parents[3] / "shared" / "reference"
    return Path(os.environ.get("DRAGTEXT_REFERENCE") or default)


def case_ids(method: str) -> list[str]:
    index = reference_folder() / "cases.json"
    if not index.exists():
        return []
    cases = json.loads(index.read_text())
    return [case["id"] for case in cases if case["method"] == method]


@pytest.fixture(scope="session")
def reference() -> Path:
    folder = reference_folder()
    if not (folder / "cases.json").exists():
        pytest.skip(f"no reference trajectories in {folder.name}; set DRAGTEXT_REFERENCE to their folder")
    return folder


@pytest.fixture(scope="session")
def model(reference):
    return load_model(reference / "model", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def load_case(reference):
    cases = {case["id"]: case for case in json.loads((reference / "cases.json").read_text())}

    def load(case_id: str) -> tuple[dict, dict[str, np.ndarray]]:
        return cases[case_id], dict(np.load(reference / "cases" / f"{case_id}.npz", allow_pickle=False))

    return load


@pytest.fixture(scope="session")
def components(reference) -> dict[str, np.ndarray]:
    return dict(np.load(reference / "cases" / "components_a.npz", allow_pickle=False))


def assert_quantile_close(actual, expected, quantile_limit: float, maximum: float, what: str) -> None:
    """99 % of the differences within `quantile_limit`, all within `maximum` (Adam makes single elements differ)."""
    difference = np.abs(np.asarray(actual, dtype=np.float64) - np.asarray(expected, dtype=np.float64))
    assert np.quantile(difference, 0.99) <= quantile_limit, (what, np.quantile(difference, 0.99))
    assert difference.max() <= maximum, (what, difference.max())
