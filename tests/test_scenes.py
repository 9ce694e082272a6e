"""Scenes are deterministic and their measurement is right, on pictures whose true answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.sdk.evaluation.centroid import measure
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, drag_task, make_scene, object_mask, render

SEEDS = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 30)


def test_a_seed_means_one_picture():
    assert np.array_equal(render(make_scene(5)), render(make_scene(5)))
    assert not np.array_equal(render(make_scene(5)), render(make_scene(6)))
    assert make_scene(5).caption == make_scene(5).caption


@pytest.mark.parametrize("seed", SEEDS)
def test_the_truth_measures_as_all_the_way_and_the_original_as_nothing(seed):
    task = drag_task(seed)
    truth, nothing = measure(task, task.truth), measure(task, task.image)
    assert truth.fraction == pytest.approx(1, abs=0.05)
    assert truth.area_ratio == pytest.approx(1, abs=0.1)
    assert truth.outside < 0.01
    assert truth.overlap == pytest.approx(1)
    assert nothing.overlap < 0.65
    assert nothing.fraction == pytest.approx(0, abs=0.05)
    assert nothing.outside == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_task_stays_inside_and_its_handles_lie_on_the_object(seed):
    task = drag_task(seed)
    assert 29 <= np.hypot(*task.offset) <= 61
    on_object = object_mask(task.scene.objects[0], 256)
    for (x0, y0), (x1, y1) in task.drags:
        assert on_object[int(y0), int(x0)]
        assert (x1 - x0, y1 - y0) == task.offset
        assert 0 <= x1 < 256
        assert 0 <= y1 < 256
        assert task.mask[int(y0), int(x0)]
        assert task.mask[int(y1), int(x1)]


def test_a_vanished_object_has_not_moved():
    task = drag_task(SEEDS[0])
    gray = np.full_like(task.image, 128)
    assert measure(task, gray).fraction == 0
    assert measure(task, gray).area_ratio == 0
