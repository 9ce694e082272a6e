"""In bfloat16 every reference trajectory ends where it ends in float32, or nearly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.model.load import load_model

from .conftest import case_ids
from .test_trajectories import inverted, prepared  # noqa: F401 (fixtures)

MOST_APART = 2.0  # feature-grid pixels; of ways of 2 to 16


@pytest.fixture(scope="module")
def half_model(reference):
    return load_model(reference / "model", device="cpu", dtype="bfloat16")


@pytest.mark.parametrize("case_id", [case for method in LOOPS for case in case_ids(method)])
def test_bfloat16_ends_at_the_same_place(half_model, prepared, case_id):  # noqa: F811
    case, _, problem = prepared(case_id)
    ends = []
    for model in (problem.model, half_model):
        *_, last = loop_of(case["method"])(replace(problem, model=model))
        ends.append(last.handles)
    apart = np.linalg.norm(ends[0] - ends[1], axis=1)
    assert apart.max() <= MOST_APART
