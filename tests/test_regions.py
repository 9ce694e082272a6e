"""What moves: found from handles, given, or all of the mask; and the mask that follows from it."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.sdk.drag.regions import choose_regions
from dragtext.sdk.errors import InputError
from dragtext.sdk.evaluation.tasks import KINDS, drag_task
from dragtext.sdk.picture.segmentation import find_region, mask_around
from dragtext.sdk.request import make_drags


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_figures_and_parts_are_found(kind):
    found = []
    for number in range(4):
        task = drag_task(number, kind)
        region = find_region(task.image, [handle for handle, _ in task.drags], task.mask > 0)
        found.append(overlap(region, task.before))
    assert np.mean(found) > (0.7 if kind == "part" else 0.85)


def test_what_is_taken_by_its_middle_moves_whole_without_a_mask():
    """One pull and nothing else is what most people begin with."""
    found = []
    for number in range(10):
        task = drag_task(number, "move")
        regions = choose_regions(task.image, make_drags(task.drags[:1]), None)
        assert regions.source == "found"
        found.append(overlap(regions.union, task.before))
    assert np.mean(found) > 0.9
    assert min(found) > 0.6  # a duck whose head does not touch its body


@pytest.mark.parametrize("number", [4, 10])
def test_what_is_taken_by_a_part_moves_that_part_without_a_mask(number):
    task = drag_task(number, "part")
    assert overlap(choose_regions(task.image, make_drags(task.drags), None).union, task.before) > 0.7


def test_a_large_thing_is_found_whole_in_a_large_picture():
    """Much larger than the window around a short drag, and with a colour of its own in the middle."""
    picture = np.full((600, 900, 3), 200, np.uint8)
    truth = np.zeros(picture.shape[:2], bool)
    truth[100:500, 200:700] = True
    picture[truth] = (160, 40, 40)
    picture[250:350, 400:500] = (40, 40, 160)
    regions = choose_regions(picture, make_drags([((440, 290), (450, 295))]), None)
    assert overlap(regions.union, truth) > 0.95


@pytest.mark.parametrize("number", [16, 34])
def test_a_flower_is_found_by_its_heart(number):
    """A handle on the middle disc of a bloom, whose stem crosses the mask's edge."""
    task = drag_task(number, "part")
    region = choose_regions(task.image, make_drags(task.drags), task.mask > 0).union
    assert overlap(region, task.before) > 0.9


def test_a_chimney_that_hardly_looks_over_its_roof_is_found():
    task = drag_task(28, "part")
    regions = choose_regions(task.image, make_drags(task.drags), task.mask > 0)
    assert regions.source == "found"
    assert overlap(regions.union, task.before) > 0.5


def test_equal_pictures_give_equal_regions():
    task = drag_task(0, "move")
    handles = [handle for handle, _ in task.drags]
    first = find_region(task.image, handles, task.mask > 0)
    find_region(drag_task(1, "move").image, handles)
    assert np.array_equal(find_region(task.image, handles, task.mask > 0), first)


def test_a_picture_that_is_all_around_its_handle_has_no_surroundings():
    small = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert find_region(small, [(8, 8)]) is None
    assert choose_regions(small, make_drags([((8, 8), (12, 8))]), None).source == "handles"


def test_nothing_is_found_where_nothing_stands_out():
    flat = np.full((128, 128, 3), 90, np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[30:90, 30:90] = True
    drags = make_drags([((60, 60), (80, 60))])
    regions = choose_regions(flat, drags, mask)
    assert regions.source == "mask"
    assert np.array_equal(regions.union, mask)
    assert "give a region" in regions.notes[0]
    around = choose_regions(flat, drags, None)
    assert around.source in ("handles", "found")
    assert around.union[60, 60]


def test_a_given_region_is_used_as_it_is():
    task = drag_task(0, "move")
    regions = choose_regions(task.image, make_drags(task.drags), None, [task.before])
    assert (regions.source, regions.notes) == ("given", ())
    assert regions.union is not None
    assert np.array_equal(regions.union, task.before)
    with pytest.raises(InputError, match="2 regions for 3 drags"):
        choose_regions(task.image, make_drags(task.drags), None, [task.before] * 2)


def test_regions_of_single_drags_move_apart_and_equal_ones_together():
    left, right = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    left[40:60, 10:30], right[40:60, 70:90] = True, True
    drags = make_drags([((20, 50), (20, 20)), ((80, 50), (80, 90)), ((15, 45), (15, 15))])
    regions = choose_regions(np.zeros((100, 100, 3), np.uint8), drags, None, [left, right, left])
    assert [len(group) for _, group in regions.moves] == [2, 1]


def test_two_things_that_are_found_go_their_own_ways():
    picture = np.full((128, 128, 3), 200, np.uint8)
    picture[40:70, 20:50], picture[40:70, 80:110] = (200, 30, 30), (30, 30, 200)
    mask = np.ones((128, 128), bool)
    mask[:4] = mask[-4:] = mask[:, :4] = mask[:, -4:] = False
    apart = make_drags([((35, 55), (35, 90)), ((95, 55), (95, 20))])
    regions = choose_regions(picture, apart, mask)
    assert regions.source == "found"
    assert sorted(len(group) for _, group in regions.moves) == [1, 1]
    together = make_drags([((35, 55), (40, 60)), ((95, 55), (100, 60))])
    assert len(choose_regions(picture, together, mask).moves) == 1


def test_the_mask_covers_region_way_and_target():
    region = np.zeros((300, 400), bool)
    region[100:140, 100:150] = True
    mask = mask_around(region, make_drags([((120, 120), (300, 200))]))
    assert mask[120, 120]
    assert mask[160, 210]
    assert mask[200, 300]
    assert mask[218, 325]
    assert not mask[280, 20]
    assert mask.mean() < 0.3
