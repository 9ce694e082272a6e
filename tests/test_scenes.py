"""The toy box: equal seeds give equal scenes, both renderers the same pixels, and measures their exact answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dragtext.sdk.drag import LOOPS
from dragtext.sdk.evaluation.batches import draw_batch
from dragtext.sdk.evaluation.drawing import draw_scene, toy_mask
from dragtext.sdk.evaluation.figures import COLOURS, FIGURES, GROUPS, movable_parts
from dragtext.sdk.evaluation.movement import measure
from dragtext.sdk.evaluation.recognise import recognise
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_close_scene, make_scene
from dragtext.sdk.evaluation.suited import loop_settings
from dragtext.sdk.evaluation.tasks import HARD, KINDS, LONG, drag_task


def test_equal_seeds_give_equal_scenes_and_others_differ():
    assert make_scene(3) == make_scene(3)
    assert np.array_equal(draw_scene(make_scene(3)), draw_scene(make_scene(3)))
    assert make_scene(3) != make_scene(4)


def test_everything_of_the_world_comes_up():
    toys = [toy for seed in range(400) for toy in make_scene(seed).toys]
    assert {(toy.colour, toy.figure) for toy in toys} == {(c, f) for c in COLOURS for f in FIGURES}
    assert {toy.size for toy in toys} == {"small", "large"}
    assert {len(make_scene(seed).toys) for seed in range(50)} == {1, 2}


def test_both_renderers_draw_the_same():
    for scenes in ([make_scene(seed) for seed in range(12)], [make_close_scene(seed) for seed in range(8)]):
        images, covered = draw_batch(scenes)
        alone = np.stack([draw_scene(scene) for scene in scenes]).astype(int)
        assert np.abs(images.permute(0, 2, 3, 1).numpy().astype(int) - alone).max() <= 1
        masks = [np.any([toy_mask(scene, n) for n in range(len(scene.toys))], axis=0) for scene in scenes]
        assert (covered[:, 0].numpy() == np.stack(masks)).mean() > 0.9999


def test_captions_say_what_is_there_and_no_more_than_was_asked():
    toy = replace(
        make_scene(1, count=1).toys[0],
        figure="cat",
        colour="red",
        size="small",
        centre=(128.0, 128.0),
        angle=-0.3,
        aspect=0.8,
        shifts=((0.0, 0.0), (0.0, -0.15), (0.0, 0.0), (0.0, 0.0)),
    )
    scene = replace(make_scene(1, count=1), ground="gray", toys=(toy,))
    assert scene.describe() == "a small red cat on a gray background"
    assert scene.describe(pose=True, places=True) == (
        "a small tall red cat with raised ears tilted left in the middle on a gray background"
    )


def test_a_toy_is_where_its_coordinates_say():
    scene = make_scene(5, count=1)
    (toy,) = scene.toys
    x, y = toy.to_pixels(0.3, -0.2)
    assert toy.to_local(x, y) == pytest.approx((0.3, -0.2))
    rows, cols = np.nonzero(toy_mask(scene))
    assert np.hypot(cols - toy.centre[0], rows - toy.centre[1]).max() <= toy.reach
    assert len(toy.shifts) == GROUPS


def test_a_part_is_what_is_seen_of_it():
    scene = make_scene(5, count=1)
    figure = scene.toys[0].figure
    part, whole = toy_mask(scene, 0, set(movable_parts(figure))), toy_mask(scene)
    assert part.any()
    assert not (part & ~whole).any()
    assert part.sum() < whole.sum()


@pytest.mark.parametrize("seed", range(FIRST_UNSEEN_SEED, FIRST_UNSEEN_SEED + 12))
def test_drawn_scenes_are_recognised(seed):
    scene = make_scene(seed, count=1)
    assert recognise(draw_scene(scene)) == (scene.toys[0].colour, scene.toys[0].figure)


def test_a_plain_ground_shows_nothing():
    assert recognise(np.full((256, 256, 3), 200, np.uint8)) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_tasks_truth_is_perfect_and_its_picture_is_where_nothing_happened(kind):
    for number in range(3):
        task = drag_task(number, kind)
        perfect, nothing = measure(task, task.truth), measure(task, task.image)
        assert (perfect.remaining_error, perfect.outside) == (0, 0)
        assert (nothing.remaining_error, nothing.outside) == (1, 0)
        if kind == "move":
            assert perfect.fraction == pytest.approx(1, abs=0.02)
            assert perfect.overlap > 0.85
            assert perfect.area_kept
            assert not perfect.second_figure
            assert nothing.fraction == pytest.approx(0, abs=0.02)
            assert nothing.left_behind > 0.5
        elif kind == "part":
            assert perfect.part_fraction == pytest.approx(1, abs=0.1)
            assert nothing.part_fraction == pytest.approx(0, abs=0.1)


def test_a_figure_at_both_places_is_a_second_figure():
    task = next(t for t in (drag_task(n, "move") for n in range(9)) if not (t.before & t.after).any())
    both = np.where(task.before[..., None], task.image, task.truth)
    moved = measure(task, both)
    assert moved.second_figure
    assert moved.left_behind > 0.9
    assert moved.fraction == pytest.approx(0.5, abs=0.1)
    gone = measure(task, np.where(task.after[..., None], task.image, task.truth))
    assert (gone.overlap, gone.area_kept) == (0, False)


@pytest.mark.parametrize("kind", HARD)
def test_where_identity_is_at_risk_answers_are_known_too(kind):
    for number in range(12):
        task = HARD[kind](number)
        perfect = measure(task, task.truth)
        assert (perfect.remaining_error, perfect.outside) == (0, 0)
        assert perfect.fraction == pytest.approx(1, abs=0.05)  # a few pixels of so small a figure look like ground
        assert not (task.before & (task.mask == 0)).any()
        if kind == "twins":
            one, other = task.scene.toys
            assert (one.figure, one.colour == other.colour) == (other.figure, False)
            assert one.colour in task.caption
            assert other.colour in task.caption
            assert not (toy_mask(task.scene, 1) & (task.mask > 0)).any()
        elif kind == "long":
            assert np.hypot(*task.offset) > LONG - 2
        else:
            plain = drag_task(number, "move")
            assert ((task.image == 255 - plain.image) & (task.truth == 255 - plain.truth)).all()
            assert measure(task, task.image).fraction == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_handles_lie_on_what_moves_and_all_of_it_stays_inside(kind):
    for number in range(6):
        task = drag_task(number, kind)
        near = np.pad(task.before, 3)
        for (x0, y0), (x1, y1) in task.drags:
            row, col = round(y0) + 3, round(x0) + 3
            assert near[row - 3 : row + 4, col - 3 : col + 4].any()
            assert 0 <= x1 < 256
            assert 0 <= y1 < 256
        assert not (task.before & (task.mask == 0)).any()
        assert not (task.after & (task.mask == 0)).any()
        assert (task.image[task.mask == 0] == task.truth[task.mask == 0]).all()


@pytest.mark.parametrize("method", LOOPS)
def test_only_whole_figures_are_dragged_by_windows_as_wide_as_they_are(method):
    widths = {kind: loop_settings(method, kind).resolve().supervision_radius for kind in KINDS}
    assert len({widths[kind] for kind in ("part", "rotate", "stretch")}) == 1
    assert (widths["move"] > 2 * widths["part"]) == (method != "dragnoise")
    assert all(loop_settings(method, kind).method == method for kind in KINDS)
