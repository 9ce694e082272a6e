"""Scenes are deterministic and their measurement is right, on pictures whose true answer is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dragtext.sdk.command.demo import demo_settings
from dragtext.sdk.drag import METHODS
from dragtext.sdk.evaluation.centroid import measure
from dragtext.sdk.evaluation.recognise import recognise
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, HELD_OUT, make_scene, object_mask, render
from dragtext.sdk.evaluation.tasks import KINDS, drag_task

SEEDS = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 30)


def test_a_seed_means_one_picture():
    assert np.array_equal(render(make_scene(5)), render(make_scene(5)))
    assert not np.array_equal(render(make_scene(5)), render(make_scene(6)))
    assert make_scene(5).caption == make_scene(5).caption


def test_training_never_sees_what_is_held_out_and_measurements_do():
    def pairs(seeds):
        return {(o.colour, o.shape) for seed in seeds for o in make_scene(seed).objects}

    assert not pairs(range(600)) & HELD_OUT
    assert pairs(range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + 600)) >= HELD_OUT


def test_captions_name_what_is_there_and_where():
    scene = make_scene(2)
    (item,) = scene.objects
    for word in (item.size, item.texture, item.colour, item.shape, scene.background):
        assert word in scene.caption
    for centre, where in (
        ((20, 128), "on the left"),
        ((128, 240), "at the bottom"),
        ((130, 120), "in the middle"),
        ((240, 20), "on the right"),
    ):
        moved = replace(scene, objects=(replace(item, centre=centre),))
        assert where in moved.describe(places=True)
        assert where not in moved.caption


@pytest.mark.parametrize("seed", SEEDS)
def test_drawn_scenes_are_recognised(seed):
    scene = make_scene(seed, count=1, figures=0.0)
    assert recognise(render(scene)) == (scene.objects[0].colour, scene.objects[0].shape)


def test_nothing_is_recognised_on_an_empty_picture():
    assert recognise(np.full((256, 256, 3), 90, np.uint8)) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_every_kind_of_drag_has_a_truth_inside_its_mask(kind, seed):
    task = drag_task(seed, kind)
    assert not (task.image != task.truth)[task.mask == 0].any()
    truth, nothing = measure(task, task.truth), measure(task, task.image)
    assert (truth.remaining_error, nothing.remaining_error) == (0, 1)
    assert (truth.fraction is None) == (kind != "move")
    for source, target in task.drags:
        assert source != target
        for x, y in (source, target):
            assert task.mask[int(y), int(x)]


def test_a_drawn_handle_lands_on_the_same_texture():
    """The target is where the truth shows what the handle showed."""
    for kind in ("move", "rotate", "stretch"):
        task = drag_task(SEEDS[3], kind)
        for (x0, y0), (x1, y1) in task.drags:
            before, after = task.image[int(y0), int(x0)].astype(int), task.truth[int(y1), int(x1)].astype(int)
            assert np.abs(before - after).max() < 90


@pytest.mark.parametrize("seed", SEEDS)
def test_the_truth_measures_as_all_the_way_and_the_original_as_nothing(seed):
    task = drag_task(seed)
    truth, nothing = measure(task, task.truth), measure(task, task.image)
    assert truth.fraction == pytest.approx(1, abs=0.05)
    assert truth.area_ratio == pytest.approx(1, abs=0.1)
    assert truth.outside < 0.01
    assert truth.overlap == pytest.approx(1)
    assert nothing.overlap < 0.75
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


@pytest.mark.parametrize("method", METHODS)
def test_only_whole_objects_are_dragged_by_windows_as_wide_as_they_are(method):
    widths = {kind: demo_settings(method, kind).resolve().supervision_radius for kind in KINDS}
    assert len({widths[kind] for kind in ("part", "rotate", "stretch")}) == 1
    assert (widths["move"] > 2 * widths["part"]) == (method in ("gooddrag", "freedrag"))
    assert all(demo_settings(method, kind).method == method for kind in KINDS)
