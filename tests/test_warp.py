"""The warped start: transforms that are exact where they must be, pixels that move whole, holes that are filled."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from dragtext.sdk.drag.cells import fresh_noise, move_cells, move_field
from dragtext.sdk.drag.deform import deform, drag_kind, fetch_map, fits_all, transform_kind
from dragtext.sdk.drag.start import fill_hole, warp_picture
from dragtext.sdk.request import Drag, make_drags
from hypothesis import given, settings
from hypothesis import strategies as st

HANDLES = np.array([[60.0, 50.0], [120.0, 60.0], [90.0, 130.0], [70.0, 100.0]])


def turned(points: np.ndarray, angle: float, size: float = 1.0, about: float = 90.0) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return size * (points - about) @ np.array([[cos, sin], [-sin, cos]]) + about


@pytest.mark.parametrize(
    ("targets", "kind", "drag"),
    [
        (HANDLES + (20, -7), "rigid", "move"),
        (turned(HANDLES, 0.6), "rigid", "rotate"),
        (turned(HANDLES, 0.3, 1.4), "similarity", "stretch"),
        ((HANDLES - 90) * (1.4, 0.8) + 90, "affine", "stretch"),
        (HANDLES + [(30, 0), (-30, 0), (0, 25), (5, -30)], "rigid", "other"),
    ],
)
def test_the_simplest_transform_that_serves_all_drags(targets, kind, drag):
    assert transform_kind(HANDLES, targets) == kind
    assert drag_kind(HANDLES, targets) == drag
    assert fits_all(HANDLES, targets) == (drag != "other")


def test_few_handles_tell_less():
    assert transform_kind(HANDLES[:1], HANDLES[:1] + 9) == "rigid"
    assert transform_kind(HANDLES[:2], (HANDLES[:2] - 90) * (1.5, 1.0) + 90) != "affine"
    line = np.array([[10.0, 10.0], [20.0, 10.0], [30.0, 10.0]])
    assert transform_kind(line, line * (2.0, 1.0)) == "similarity"


@pytest.mark.parametrize("kind", ["rigid", "similarity", "affine"])
def test_handles_arrive_exactly_and_a_single_one_carries_all(kind):
    targets = HANDLES + [(30, 0), (-30, 0), (0, 25), (5, -30)]
    assert np.allclose(deform(HANDLES, HANDLES, targets, kind), targets, atol=1e-4)
    points = np.array([[0.0, 0.0], [200.0, 10.0]])
    assert np.allclose(deform(points, HANDLES[:1], HANDLES[:1] + (4, 5), kind), points + (4, 5))


def test_the_published_formula_in_its_own_terms():
    """Rigid deformation of one point as the paper writes it, with 2x2 matrices (equations 5 to 8)."""
    targets, point = HANDLES + [(9, 0), (-4, 3), (0, 6), (2, -8)], np.array([85.0, 75.0])
    weights = 1 / np.square(HANDLES - point).sum(1)
    centre_p, centre_q = (np.average(points, axis=0, weights=weights) for points in (HANDLES, targets))

    def perpendicular(vector):
        return np.array([-vector[1], vector[0]])

    right = np.stack([point - centre_p, -perpendicular(point - centre_p)])
    total = np.zeros(2)
    for weight, p, q in zip(weights, HANDLES - centre_p, targets - centre_q):
        total += q @ (weight * np.stack([p, -perpendicular(p)]) @ right.T)
    expected = np.linalg.norm(point - centre_p) * total / np.linalg.norm(total) + centre_q
    assert np.allclose(deform(point[None], HANDLES, targets, "rigid")[0], expected)


@settings(max_examples=25, deadline=None)
@given(st.floats(-1, 1), st.floats(-40, 40), st.floats(-40, 40))
def test_a_map_fetches_what_the_transform_brought(angle, dx, dy):
    targets = turned(HANDLES, angle) + (dx, dy)
    places = fetch_map((10, 20, 75, 93), HANDLES, targets, "rigid")
    cols, rows = np.meshgrid(np.arange(20, 93), np.arange(10, 75))
    expected = turned(np.stack([cols, rows], -1).reshape(-1, 2) - (dx, dy), -angle).reshape(65, 73, 2)
    assert np.abs(places - expected).max() < 0.01


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A textured square on a shaded ground, and where it is."""
    picture = np.zeros((160, 200, 3), np.uint8)
    picture[:] = (90, 120, 150)
    picture[..., 0] += np.arange(200, dtype=np.uint8)[None] // 4
    region = np.zeros((160, 200), bool)
    region[40:80, 50:90] = True
    rng = np.random.default_rng(0)
    picture[region] = rng.integers(0, 255, (1600, 3))
    return picture, region


def test_a_region_moves_whole_and_its_place_is_filled():
    picture, region = scene()
    start = warp_picture(picture, [(region, make_drags([((70, 60), (120, 90))]))])
    inner = (slice(43, 77), slice(53, 87))
    landed = (slice(73, 107), slice(103, 137))
    assert np.abs(start.picture[landed].astype(int) - picture[inner]).max() <= 1
    # Nothing of it is left, and what is there now continues the ground.
    old = start.picture[45:68, 53:87].astype(int)
    assert np.abs(old - (90 + np.arange(53, 87)[None, :, None] // 4 * [1, 0, 0] + [0, 30, 60])).max() < 12
    assert start.revealed[50, 60]
    assert not start.revealed[90, 120]
    assert start.place[90, 120] == pytest.approx(1)
    far = np.ones_like(region)
    far[30:115, 40:145] = False
    assert (start.picture[far] == picture[far]).all()


def test_pins_hold_their_points():
    picture, region = scene()
    drags = (Drag((55, 60), (55, 60)), Drag((85, 60), (85, 75)))
    start = warp_picture(picture, [(region, drags)])
    assert np.abs(start.picture[60, 55].astype(int) - picture[60, 55]).max() <= 2  # all turns about it
    ends = [np.array([getattr(d, end) for d in drags], float) for end in ("source", "target")]
    assert np.allclose(deform(ends[0], *ends, "rigid")[0], (55, 60), atol=1e-6)


def chimney(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A red chimney, 0.1 wide and 0.2 high, on a dark roof that fills the lower half of a picture; and its region."""
    picture = np.full((side, side, 3), (200, 210, 220), np.uint8)
    picture[side // 2 :] = (40, 40, 60)
    region = np.zeros((side, side), bool)
    region[3 * side // 10 : side // 2, 45 * side // 100 : 55 * side // 100] = True
    picture[region] = (200, 40, 40)
    return picture, region


def reds(picture: np.ndarray) -> np.ndarray:
    return np.abs(picture.astype(int) - (200, 40, 40)).sum(2) < 60


@pytest.mark.parametrize("side", [256, 1024])
@pytest.mark.parametrize("way", [(0.0, -0.05), (0.0, -0.2), (0.05, -0.1)])
def test_what_is_pulled_from_its_body_stays_whole_and_attached(side, way):
    picture, region = chimney(side)
    handle = (side / 2, 0.4 * side)
    target = (handle[0] + way[0] * side, handle[1] + way[1] * side)
    start = warp_picture(picture, [(region, [Drag(handle, target)])])
    dx, dy = round(way[0] * side), round(way[1] * side)
    rows, cols = np.nonzero(cv2.erode(region[: 2 * side // 5].astype(np.uint8), np.ones((5, 5), np.uint8)))
    assert reds(start.picture)[rows + dy, cols + dx].all()  # the half beyond the handle has moved as one
    red = reds(start.picture)
    assert all(red[row].sum() > 0.07 * side for row in range(round(0.35 * side) + dy, side // 2 - 4))
    assert np.array_equal(start.picture[side // 2 + 8 :], picture[side // 2 + 8 :])  # the roof stays


@pytest.mark.parametrize("way", [(61, 0), (-61, 0), (53, -30), (0, -61)])
def test_a_small_part_that_goes_farther_than_it_is_large_arrives_whole(way):
    """A chimney of 31 x 47 pixels on a large picture: beyond its neck nothing of it is lost or squeezed."""
    picture = np.full((1024, 1024, 3), (200, 210, 220), np.uint8)
    picture[512:] = (40, 40, 60)
    region = np.zeros((1024, 1024), bool)
    region[465:512, 497:528] = True
    picture[region] = (200, 40, 40)
    start = warp_picture(picture, [(region, [Drag((512, 488), (512 + way[0], 488 + way[1]))])])
    arrived = np.roll(region, way[::-1], (0, 1))
    assert (reds(start.picture) & arrived)[: 512 - 12 + min(way[1], 0)].sum() > 0.97 * 35 * 31


def test_what_is_pushed_into_its_body_goes_behind_it():
    picture, region = chimney(256)
    start = warp_picture(picture, [(region, [Drag((128, 102), (128, 132))])])
    assert np.array_equal(start.picture[128 + 4 :], picture[128 + 4 :])
    red = reds(start.picture)
    assert red[112:124, 122:134].all()
    assert not red[:104].any()


def test_what_is_carried_out_of_the_picture_leaves_its_gap_and_no_region_leaves_all():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    region = np.zeros((64, 64), bool)
    region[2:12, 2:12] = True
    drags = make_drags([((50, 50), (5, 5))])
    start = warp_picture(picture, [(region, drags)])
    assert not start.place.any()
    assert start.revealed[region].all()
    nothing = warp_picture(picture, [(np.zeros((64, 64), bool), drags)])
    assert np.array_equal(nothing.picture, picture)
    assert not nothing.place.any()
    assert not nothing.revealed.any()


def test_a_neck_that_is_stretched_is_painted_anew():
    """Between the body's edge and the part that has gone up whole, outlines would become streaks."""
    picture, region = chimney(256)
    start = warp_picture(picture, [(region, [Drag((128, 102), (128, 82))])])
    neck, part = start.revealed[112:126, 124:132], start.revealed[80:96, 124:132]
    assert neck.mean() > 0.5
    assert not part.any()


def test_a_region_that_leaves_the_picture_and_an_empty_hole():
    picture, region = scene()
    start = warp_picture(picture, [(region, make_drags([((60, 60), (3, 3))]))])
    assert start.picture.shape == picture.shape
    assert start.place[0, 0] > 0
    assert (fill_hole(picture, np.zeros_like(region)) == picture).all()


def test_large_holes_are_filled_on_a_smaller_copy():
    picture, region = scene()
    large = cv2.resize(picture, (1600, 1280), interpolation=cv2.INTER_NEAREST)
    hole = cv2.resize(region.astype(np.uint8), (1600, 1280), interpolation=cv2.INTER_NEAREST) > 0
    filled = fill_hole(large, cv2.dilate(hole.astype(np.uint8), np.ones((33, 33), np.uint8)) > 0)
    ground = filled[480, 560].astype(int)
    assert np.abs(ground - (90 + 70 // 4, 120, 150)).max() < 12


def test_what_is_kept_is_all_but_the_revealed_and_the_seams():
    picture, region = scene()
    start = warp_picture(picture, [(region, make_drags([((70, 60), (130, 100))]))])
    painted = start.kept.painted
    assert painted[60, 70] == pytest.approx(1, abs=0.05)  # revealed
    assert painted[100, 130] == pytest.approx(0, abs=0.05)  # the middle of what was moved
    assert painted[100, 110] > 0.9  # its edge
    assert painted[150, 10] == 0


def test_cells_move_as_one():
    latent = torch.arange(2 * 20 * 25, dtype=torch.float32).reshape(1, 2, 20, 25)
    region = np.zeros((160, 200), bool)
    region[44:76, 52:84] = True
    handles = np.array([[67.5, 59.5]])
    moved = move_cells(latent, [(region, handles, handles + (80, 40), "rigid")], seed=0)
    assert torch.equal(moved[0, :, 11:14, 17:20], latent[0, :, 6:9, 7:10])
    assert not torch.equal(moved[0, :, 6:9, 7:10], latent[0, :, 6:9, 7:10])
    assert torch.equal(moved[0, :, :4], latent[0, :, :4])
    again = move_cells(latent, [(region, handles, handles + (80, 40), "rigid")], seed=0)
    assert torch.equal(again, moved)


def test_a_field_carries_its_handles_whole_and_the_rest_less():
    latent = torch.arange(20 * 25, dtype=torch.float32).reshape(1, 1, 20, 25)
    mask = np.zeros((160, 200), bool)
    mask[32:128, 40:160] = True
    handles = np.array([[83.5, 75.5]])
    moved = move_field(latent, mask, handles, handles + (32, 16), seed=0)
    assert moved[0, 0, 11, 14] == latent[0, 0, 9, 10]
    outside = ~cv2.resize(mask.astype(np.uint8), (25, 20), interpolation=cv2.INTER_AREA).astype(bool)
    assert torch.equal(moved[0, 0][torch.from_numpy(outside)], latent[0, 0][torch.from_numpy(outside)])


def test_fresh_noise_keeps_the_spread_and_the_rest():
    torch.manual_seed(0)
    latent = torch.randn(1, 4, 40, 40)
    revealed = np.zeros((320, 320), bool)
    revealed[:, :160] = True
    mixed = fresh_noise(latent, revealed, 0.7, alpha_bar=0.0, seed=1)
    assert torch.equal(mixed[..., 22:], latent[..., 22:])
    assert mixed[..., :19].std() == pytest.approx(1, abs=0.05)
    assert torch.equal(fresh_noise(latent, revealed, 0.0, 0.0, seed=1), latent)
