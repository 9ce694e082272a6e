"""Formulas on synthetic fields with exact answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.drag.motion import background_loss, motion_loss
from dragtext.sdk.drag.tracking import handle_features, track
from torch.nn.functional import grid_sample, interpolate


def random_map(rows=24, cols=20, channels=5, seed=0):
    return torch.randn(1, channels, rows, cols, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [(24, 20), (48, 40), (37, 61)])
def test_window_equals_interpolate_and_grid_sample(grid):
    native = random_map()
    rows = np.array([0.0, 3.25, 10.5, grid[0] - 1])
    cols = np.array([0.0, 7.75, grid[1] - 1])
    enlarged = interpolate(native.double(), grid, mode="bilinear", align_corners=False)
    y = torch.from_numpy(rows) / (grid[0] - 1) * 2 - 1
    x = torch.from_numpy(cols) / (grid[1] - 1) * 2 - 1
    where = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1)[None]
    expected = grid_sample(enlarged, where, mode="bilinear", align_corners=True)[0]
    actual = FeatureMap(native, grid).window(rows, cols)
    assert (actual - expected).abs().max() < 1e-5


def test_window_beyond_the_border_repeats_it():
    features = FeatureMap(random_map(), (48, 40))
    outside = features.window(np.array([-2.0, 49.3]), np.array([-0.5, 41.0]))
    border = features.window(np.array([0.0, 47.0]), np.array([0.0, 39.0]))
    assert torch.equal(outside, border)


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-3, 3), (1, 0)])
def test_a_translated_pattern_is_tracked_to_the_pixel(shift):
    native = random_map(32, 32)
    moved = torch.roll(native, shift, dims=(2, 3))
    handles = np.array([[10.0, 12.0], [20.0, 15.0]])
    templates = handle_features(FeatureMap(native, (32, 32)), handles)
    found = track(FeatureMap(moved, (32, 32)), templates, handles, radius=3)
    assert np.array_equal(found, handles + shift)


def test_tracking_stays_inside_at_the_corners():
    native = random_map(16, 16)
    handles = np.array([[0.0, 0.0], [15.0, 15.0]])
    features = FeatureMap(native, (16, 16))
    assert np.array_equal(track(features, handle_features(features, handles), handles, 3), handles)


def test_motion_loss_of_a_ramp_is_its_slope():
    """On F = col, one pixel ahead differs by exactly 1 along the columns and by 0 along the rows."""
    ramp = torch.arange(20.0).expand(1, 3, 20, 20).contiguous()
    features = FeatureMap(ramp, (20, 20))
    handles = np.array([[10.0, 10.0], [5.0, 5.0]])
    targets = np.array([[10.0, 15.0], [9.0, 5.0]])
    along = motion_loss(features, handles, targets, np.array([True, False]), radius=1)
    across = motion_loss(features, handles, targets, np.array([False, True]), radius=2)
    assert along.item() == pytest.approx(9.0)
    assert across.item() == pytest.approx(0.0, abs=1e-6)


def test_motion_gradient_flows_through_the_displaced_patch_only():
    native = random_map(20, 20).requires_grad_()
    loss = motion_loss(
        FeatureMap(native, (20, 20)), np.array([[10.0, 5.0]]), np.array([[10.0, 15.0]]), np.array([True]), 1
    )
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
    loss = motion_loss(
        FeatureMap(native, (20, 20)), np.array([[0.0, 0.0]]), np.array([[0.0, 9.0]]), np.array([True]), 1
    )
    expected = 9 * (native[0, :, 0:2, 0:2] - native[0, :, 0:2, 1:3]).abs().mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_background_counts_only_outside_the_mask():
    start = torch.zeros(1, 4, 4, 4)
    now = torch.full_like(start, 0.5)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    assert background_loss(now, start, mask).item() == pytest.approx(0.5 * 4 * 8)
