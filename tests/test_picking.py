"""Pointing at an object: clicks, rectangles and strokes, and what follows from a region."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from dragtext.sdk.drag.bend import grown
from dragtext.sdk.drag.start import in_betweens, warp_picture, without_regions
from dragtext.sdk.errors import InputError
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.picture.segmentation import Stroke, pick_region
from dragtext.sdk.request import Drag, make_drags, read_drags

from .test_regions import overlap

TASKS = [drag_task(number, "move") for number in range(4)]


def box_of(region: np.ndarray, room: int = 4) -> tuple[float, float, float, float]:
    rows, cols = np.nonzero(region)
    return cols.min() - room, rows.min() - room, cols.max() + room + 1, rows.max() + room + 1


def test_a_rectangle_finds_what_it_holds():
    found = [overlap(pick_region(task.image, box=box_of(task.before)), task.before) for task in TASKS]
    assert min(found) > 0.85


def test_a_click_finds_what_it_lies_on():
    found = [overlap(pick_region(task.image, handles=[task.drags[0][0]]), task.before) for task in TASKS]
    assert np.mean(found) > 0.75


def test_a_stroke_finds_what_it_goes_over():
    found = []
    for task in TASKS:
        x0, y0, x1, y1 = box_of(task.before)
        way = (((3 * x0 + x1) / 4, (y0 + y1) / 2), ((x0 + 3 * x1) / 4, (y0 + y1) / 2))
        found.append(overlap(pick_region(task.image, plus=[Stroke(4, way)]), task.before))
    assert np.mean(found) > 0.75


def test_strokes_mend_what_was_found():
    task = TASKS[0]
    x0, y0, x1, y1 = box_of(task.before)
    left = Stroke((x1 - x0) / 4, ((x0 + (x1 - x0) / 4, y0), (x0 + (x1 - x0) / 4, y1)))
    without = pick_region(task.image, box=box_of(task.before), minus=[left])
    assert not without[int(y0) : int(y1), int(x0) + 4 : int((x0 + x1) / 2) - 4].any()
    assert without[int(y0) : int(y1), int((x0 + x1) / 2) :].any()
    # What a plus stroke covers belongs to it, whatever it looks like.
    more = pick_region(task.image, box=box_of(task.before), plus=[Stroke(3, ((x1 + 8, y1), (x1 + 12, y1)))])
    assert more[int(y1), int(x1) + 10]


def test_a_large_picture_is_picked_at_its_own_size():
    found = []
    for task in TASKS:
        big = cv2.resize(task.image, (1024, 1024), interpolation=cv2.INTER_CUBIC)
        whole = cv2.resize(task.before.astype(np.uint8), (1024, 1024), interpolation=cv2.INTER_NEAREST) > 0
        found.append(overlap(pick_region(big, box=box_of(whole, 16)), whole))
    assert np.mean(found) > 0.7


@pytest.mark.parametrize(
    "pointed",
    [
        {"handles": [(60, 60)]},
        {"box": (-10, -10, 500, 500)},
        {"box": (20, 20, 20, 20)},
        {"box": (300, 300, 400, 400)},
        {"plus": [Stroke(500, ((64, 64),))]},
        {"handles": [(60, 60)], "minus": [Stroke(500, ((64, 64),))]},
    ],
)
def test_where_nothing_can_be_told_nothing_is_found(pointed):
    assert pick_region(np.full((128, 128, 3), 90, np.uint8), **pointed) is None


def test_nothing_pointed_at_is_a_sentence():
    with pytest.raises(InputError, match="Nothing is pointed at"):
        pick_region(TASKS[0].image, minus=[Stroke(3, ((5, 5),))])


def test_drags_that_make_no_edit_yet():
    assert read_drags([]) == ()
    assert read_drags([[[1, 2], [1, 2]]]) == (Drag((1, 2), (1, 2)),)
    with pytest.raises(InputError, match="pair of"):
        read_drags([[1]])


def test_growing_reaches_as_far_at_the_border_as_inside():
    spot = np.zeros((40, 50), bool)
    spot[0, 0] = spot[20, 49] = True
    wide = np.pad(spot, 8)
    assert np.array_equal(grown(spot, 5), grown(wide, 5)[8:-8, 8:-8])
    assert not grown(np.zeros((4, 4), bool), 3).any()


def test_a_part_that_is_put_back_does_not_cover_what_has_landed_there():
    """Two regions, of which the second hangs on a body where the first goes to."""
    task = next(task for task in (drag_task(number, "part") for number in range(30)) if hangs(task))
    part = task.before
    rows, cols = np.nonzero(without_regions(task.image, [part])[1][0])
    other = np.zeros_like(part)
    other[-14:-4, 4:14] = True
    there = (float(cols[0]), float(rows[0]))
    moves = [(other, make_drags([((9, 246), there)])), (part, make_drags(task.drags))]
    alone = warp_picture(task.image, [moves[1]])
    both = warp_picture(task.image, moves)
    landed = both.place > 0.99
    assert (np.abs(both.picture.astype(int) - alone.picture).sum(2)[landed] > 0).any()


def hangs(task) -> bool:
    return without_regions(task.image, [task.before])[1][0] is not None


def test_the_way_of_a_start_ends_before_its_ends():
    task = TASKS[0]
    moves = [(task.before, make_drags(task.drags))]
    pictures = in_betweens(task.image, moves, 3)
    assert len(pictures) == 3
    end = warp_picture(task.image, moves).picture
    differences = [np.abs(end.astype(int) - picture).mean() for picture in pictures]
    assert differences[0] > differences[2] > 0
