"""Formulas on synthetic fields with exact answers."""

from __future__ import annotations

import pytest
import torch
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.drag.motion import background_loss, motion_loss
from dragtext.sdk.drag.tracking import handle_features, track
from torch.nn.functional import grid_sample, interpolate

from .helpers import places


def random_map(rows=24, cols=20, channels=5, seed=0):
    return torch.randn(1, channels, rows, cols, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [(24, 20), (48, 40), (37, 61)])
def test_window_equals_interpolate_and_grid_sample(grid):
    native = random_map()
    rows = torch.tensor([0.0, 3.25, 10.5, grid[0] - 1], dtype=torch.float64)
    cols = torch.tensor([0.0, 7.75, grid[1] - 1], dtype=torch.float64)
    enlarged = interpolate(native.double(), grid, mode="bilinear", align_corners=False)
    y, x = rows / (grid[0] - 1) * 2 - 1, cols / (grid[1] - 1) * 2 - 1
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    expected = grid_sample(enlarged, where, mode="bilinear", align_corners=True)[0]
    centres = torch.cartesian_prod(rows, cols)
    actual = FeatureMap(native, grid).between(centres, 0)[:, :, 0, 0].t().reshape(expected.shape)
    assert (actual - expected).abs().max() < 1e-5
    whole = FeatureMap(native, grid).windows(torch.tensor([[3, 5], [20, 8]]), 2)
    assert (whole[0] - enlarged[0, :, 1:6, 3:8]).abs().max() < 1e-5
    assert (whole[1] - enlarged[0, :, 18:23, 6:11]).abs().max() < 1e-5


def test_window_beyond_the_border_repeats_it():
    features = FeatureMap(random_map(), (48, 40))
    outside = features.between(places((-2.0, -0.5), (49.3, 41.0)), 0)
    border = features.between(places((0.0, 0.0), (47.0, 39.0)), 0)
    assert torch.equal(outside, border)
    window = features.windows(torch.tensor([[0, 39]]), 1)[0]
    assert torch.equal(window[:, 0], window[:, 1])
    assert torch.equal(window[:, :, 2], window[:, :, 1])


def test_the_same_place_has_the_same_numbers_in_every_window():
    """The published tracker takes the first of several equal positions, as there are at an enlarged map's borders."""
    features = FeatureMap(random_map(16, 16), (64, 64))
    wide, narrow = features.windows(torch.tensor([[60, 61]]), 5)[0], features.windows(torch.tensor([[61, 60]]), 2)[0]
    assert torch.equal(wide[:, 4:9, 2:7], narrow)
    assert torch.equal(wide[:, 7], wide[:, 8])  # rows 62 and 63


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-3, 3), (1, 0)])
def test_a_translated_pattern_is_tracked_to_the_pixel(shift):
    native = random_map(32, 32)
    moved = torch.roll(native, shift, dims=(2, 3))
    handles = places((10, 12), (20, 15))
    templates = handle_features(FeatureMap(native, (32, 32)), handles)
    found = track(FeatureMap(moved, (32, 32)), templates, handles, radius=3)
    assert torch.equal(found, handles + torch.tensor(shift))


def test_tracking_stays_inside_at_the_corners():
    native = random_map(16, 16)
    handles = places((0, 0), (15, 15))
    features = FeatureMap(native, (16, 16))
    assert torch.equal(track(features, handle_features(features, handles), handles, 3), handles)


def test_motion_loss_of_a_ramp_is_its_slope():
    """On F = col, one pixel ahead differs by exactly 1 along the columns and by 0 along the rows."""
    ramp = torch.arange(20.0).expand(1, 3, 20, 20).contiguous()
    features = FeatureMap(ramp, (20, 20))
    handles = places((10, 10), (5, 5))
    targets = places((10, 15), (9, 5))
    along = motion_loss(features, handles, targets, torch.tensor([True, False]), radius=1)
    across = motion_loss(features, handles, targets, torch.tensor([False, True]), radius=2)
    assert along.item() == pytest.approx(9.0)
    assert across.item() == pytest.approx(0.0, abs=1e-6)


def test_motion_gradient_flows_through_the_displaced_patch_only():
    native = random_map(20, 20).requires_grad_()
    loss = motion_loss(FeatureMap(native, (20, 20)), places((10, 5)), places((10, 15)), torch.tensor([True]), 1)
    (gradient,) = torch.autograd.grad(loss, native)
    touched = {tuple(p) for p in gradient[0].abs().sum(0).nonzero().tolist()}
    assert touched == {(r, c) for r in (9, 10, 11) for c in (5, 6, 7)}
    # |A - B| against written-out numbers.
    here = native[0, :, 9:12, 4:7].detach()
    ahead = native[0, :, 9:12, 5:8].detach()
    assert loss.item() == pytest.approx(9 * (here - ahead).abs().mean().item(), rel=1e-5)
    expected = 9 * torch.sign(ahead - here) / here.numel()
    assert (gradient[0, :, 9:12, 5:8] - expected).abs().max() < 1e-6


def test_a_border_window_is_cropped_and_keeps_its_factor():
    native = random_map(20, 20)
    loss = motion_loss(FeatureMap(native, (20, 20)), places((0, 0)), places((0, 9)), torch.tensor([True]), 1)
    expected = 9 * (native[0, :, 0:2, 0:2] - native[0, :, 0:2, 1:3]).abs().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_background_counts_only_outside_the_mask():
    start = torch.zeros(1, 4, 4, 4)
    now = torch.full_like(start, 0.5)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    assert background_loss(now, start, mask).item() == pytest.approx(0.5 * 4 * 8)
