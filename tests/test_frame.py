"""Coordinates, sizes and masks in both directions, for any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.request import Drag
from hypothesis import given
from hypothesis import strategies as st

sides = st.integers(64, 700)


@given(sides, sides, st.sampled_from([8, 64]), st.floats(0, 1), st.floats(0, 1))
def test_points_survive_the_round_trip(height, width, multiple, fx, fy):
    frame = Frame.of(height, width, multiple)
    x, y = fx * (width - 1), fy * (height - 1)
    (handle,), _ = frame.to_grid([Drag((x, y), (0.0, 0.0))])
    assert 0 <= handle[0] < frame.grid[0]
    assert 0 <= handle[1] < frame.grid[1]
    back = frame.to_pixels(handle)
    assert abs(back[0] - x) <= 2
    assert abs(back[1] - y) <= 2
    assert 0 <= back[0] <= width - 1
    assert 0 <= back[1] <= height - 1


@given(sides, sides, st.sampled_from([8, 64]))
def test_image_round_trip_is_exact_in_size_and_content(height, width, multiple):
    rng = np.random.default_rng(height * 1000 + width)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    frame = Frame.of(height, width, multiple)
    model_image = frame.image_to_model(rgb)
    assert model_image.shape[2] % multiple == 0
    assert model_image.shape[3] % multiple == 0
    assert (model_image.shape[2] - height) < max(multiple, 64)
    assert model_image.min() >= -1
    assert model_image.max() <= 1
    back = frame.part_from_model(model_image / 2 + 0.5)
    assert back.shape == rgb.shape
    assert np.abs(back.astype(int) - rgb).max() <= 1


def test_x_is_the_column_and_y_the_row():
    handles, targets = Frame.of(128, 192).to_grid([Drag((100, 20), (40, 60))])
    assert handles.tolist() == [[10, 50]]
    assert targets.tolist() == [[30, 20]]


def test_rounding_is_half_to_even():
    handles, _ = Frame.of(128, 128).to_grid([Drag((5, 7), (0, 0))])
    assert handles.tolist() == [[4, 2]]


@pytest.mark.parametrize("point", [(-1, 5), (5, -0.1), (100, 5), (5, 80), (99.5, 5)])
def test_points_outside_are_refused(point):
    frame = Frame.of(80, 100)
    with pytest.raises(InputError, match="outside the image"):
        frame.to_grid([Drag(point, (5, 5))])
    with pytest.raises(InputError, match="target"):
        frame.to_grid([Drag((5, 5), point)])


def test_the_far_corner_stays_on_the_grid():
    frame = Frame.of(64, 64)
    (handle,), _ = frame.to_grid([Drag((63, 63), (0, 0))])
    assert handle.tolist() == [31, 31]


def test_mask_keeps_its_place_and_protects_the_padding():
    frame = Frame.of(100, 100)
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 48:] = 255
    latent = frame.mask_to_model(mask)
    assert latent.shape == (1, 1, 13, 13)
    assert torch.equal(latent[0, 0, 0], torch.tensor([0.0] * 6 + [1.0] * 7))
    full = frame.mask_to_model(np.ones((100, 100), bool))
    assert full[0, 0, 12, 12] == 1  # starts at pixel 96, still inside
    tall = Frame.of(64, 65, 64).mask_to_model(np.ones((64, 65), bool))
    assert tall[0, 0, 0].tolist() == [1.0] * 9 + [0.0] * 7
