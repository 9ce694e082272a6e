"""Masks: how every kind is read, which latent cells it opens, and that nothing outside it changes."""

from __future__ import annotations

import logging
from itertools import pairwise

import cv2
import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.picture.composing import compose
from dragtext.sdk.picture.frame import Frame, mask_to_latent
from dragtext.sdk.picture.masks import load_mask
from dragtext.sdk.picture.placement import place
from dragtext.sdk.picture.reading import LoadedImage
from dragtext.sdk.request import Drag, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from .helpers import encoded, noise

SIZE = (96, 128)
SHAPE = np.zeros(SIZE, bool)
SHAPE[20:60, 30:90] = True
FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 0, "inference_steps": 4}


def gray(low, high):
    return np.where(SHAPE, high, low).astype(np.uint8)


def layer(colour, hidden, opacity=None):
    """An RGBA picture: `colour` where the shape is, `hidden` below full transparency elsewhere."""
    alpha = gray(0, 255) if opacity is None else opacity
    colours = np.where(SHAPE[..., None], colour, hidden)
    return Image.fromarray(np.dstack([colours, alpha]).astype(np.uint8))


def palette(colours):
    picture = Image.fromarray(SHAPE.astype(np.uint8))
    picture = picture.convert("P") if picture.mode != "P" else picture
    picture.putdata(SHAPE.astype(np.uint8).ravel().tolist())
    picture.putpalette(list(np.array(colours).ravel()))
    return picture


KINDS = {
    "background of one": lambda: Image.fromarray(gray(1, 255)),
    "noisy background": lambda: gray(0, 250) + np.random.default_rng(0).integers(0, 6, SIZE, dtype=np.uint8),
    "gray levels": lambda: Image.fromarray(gray(127, 128)),
    "zero and one": lambda: gray(0, 1),
    "zero and one in a file": lambda: encoded(Image.fromarray(gray(0, 1))),
    "floats": lambda: SHAPE * 0.9,
    "soft floats": lambda: np.where(SHAPE, 0.5, 0.49),
    "floats to 255": lambda: SHAPE * 255.0,
    "bool": lambda: SHAPE,
    "one bit": lambda: encoded(Image.fromarray(SHAPE)),
    "sixteen bits": lambda: encoded(Image.fromarray(np.where(SHAPE, 40000, 20000).astype(np.uint16))),
    "wide integers": lambda: np.where(SHAPE, 255, 0).astype(np.int64),
    "coloured": lambda: Image.fromarray(np.where(SHAPE[..., None], (200, 30, 0), (20, 30, 40)).astype(np.uint8)),
    "palette": lambda: encoded(palette([(0, 0, 0), (128, 0, 0)])),
    "palette of one": lambda: encoded(palette([(0, 0, 0), (1, 1, 1)])),
    "three channels": lambda: np.repeat(gray(0, 255)[..., None], 3, axis=2),
    "white painted on a white layer": lambda: encoded(layer(255, 255)),
    "white painted on a black layer": lambda: encoded(layer(255, 0)),
    "black painted on a black layer": lambda: encoded(layer(0, 0)),
    "red painted on a white layer": lambda: encoded(layer((90, 0, 0), 255)),
    "gray with alpha": lambda: encoded(layer(255, 255).convert("LA")),
    "array of gray and alpha": lambda: np.dstack([np.full(SIZE, 255, np.uint8), gray(0, 255)]),
    "opaque alpha": lambda: encoded(layer(255, 0, np.full(SIZE, 255, np.uint8))),
    "thin alpha": lambda: encoded(layer(255, 0, np.full(SIZE, 90, np.uint8))),
    "a soft brush": lambda: encoded(layer(255, 255, gray(40, 200))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_means_the_shape(kind):
    assert np.array_equal(load_mask(KINDS[kind](), SIZE), SHAPE)


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_a_jpeg_does_not_grow(quality):
    found = load_mask(encoded(Image.fromarray(gray(0, 255)), "JPEG", quality=quality), SIZE)
    assert found.mean() == pytest.approx(SHAPE.mean(), rel=0.02)


def test_what_was_chosen_of_colours_and_transparency_is_said(caplog):
    load_mask(encoded(layer(255, 255)), SIZE)
    assert "from its transparency" in caplog.text
    caplog.clear()
    load_mask(encoded(layer(255, 0)), SIZE)
    assert not caplog.text  # both say the same
    both = layer(255, 0, np.where(np.arange(SIZE[1]) < 60, 255, 0) * np.ones(SIZE))
    found = load_mask(encoded(both), SIZE)
    assert np.array_equal(found, SHAPE & (np.arange(SIZE[1]) < 60))
    assert "both bright and opaque" in caplog.text


def test_an_empty_mask_tells_its_brightest_value():
    with pytest.raises(sdk.InputError, match="brightest value is 100"):
        load_mask(gray(0, 100), SIZE)


def test_a_mask_of_another_size_is_refused_before_it_is_decoded(monkeypatch):
    large = encoded(Image.new("1", (9000, 9000)))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(sdk.InputError, match="9000x9000"):
        load_mask(large, SIZE)


# Cells ---------------------------------------------------------------------------------------------------------------


def stroke(size, width, points):
    mask = np.zeros(size, np.uint8)
    cv2.polylines(mask, [np.array(points, np.int32)], False, 255, width)
    return mask > 0


def cell_of(frame, x, y):
    down, across = frame.scale
    return int((y - frame.box[0]) * down // 8), int((x - frame.box[1]) * across // 8)


def test_a_stroke_on_a_large_picture_opens_every_cell_it_fills_and_every_handle():
    size, line = (1200, 1600), [(200, 300), (700, 500), (1400, 900)]
    mask = stroke(size, 20, line)
    frame = Frame.of(*size, pixels=512 * 512)
    rows, cols = frame.latent
    fine = cv2.resize(mask.astype(np.float32), (cols * 40, rows * 40), interpolation=cv2.INTER_AREA)
    share = fine.reshape(rows, 40, cols, 40).mean(axis=(1, 3))
    opened = frame.mask_to_model(mask)[0, 0].numpy() > 0
    sure = np.abs(share - 0.5) > 0.02
    assert np.array_equal(opened[sure], share[sure] > 0.5)
    ends = np.array(line, float)
    middle = [tuple(a + (b - a) * t) for a, b in pairwise(ends) for t in np.linspace(0, 1, 100)]
    drags = [Drag((float(x), float(y)), (float(x) + 90, float(y))) for x, y in middle]
    opened = frame.mask_to_model(mask, drags)[0, 0]
    assert all(opened[cell_of(frame, *drag.source)] for drag in drags)
    handles, _ = frame.to_grid(drags)
    assert all(opened[int(row // 4), int(col // 4)] for row, col in handles)


def test_a_line_that_fills_no_cell_opens_those_it_covers_best():
    mask = np.zeros((128, 128), bool)
    mask[61:67] = True  # three pixels of either row of cells
    opened = Frame.of(128, 128).mask_to_model(mask, published=False)[0, 0]
    assert opened[7:9].all()
    assert opened.sum() == 32


def test_targets_open_their_cell_only_on_the_mask():
    mask = np.zeros((128, 128), bool)
    mask[8:24, 8:24] = True
    mask[80, 80] = True
    frame = Frame.of(128, 128)
    opened = frame.mask_to_model(mask, make_drags([((10, 10), (80, 80)), ((100, 20), (20, 100))]), published=False)[
        0, 0
    ]
    assert opened[10, 10]
    assert opened[2, 12]  # a handle's, wherever it lies
    assert not opened[12, 2]


def test_the_published_resize_stays_for_published_behaviour():
    mask = np.random.default_rng(0).random((96, 128)) > 0.5
    frame = Frame.of(96, 128)
    published = mask_to_latent(mask, frame.grid, frame.latent)
    assert torch.equal(frame.mask_to_model(mask), published)
    assert torch.equal(frame.mask_to_model(mask, make_drags([((1, 1), (9, 9))]), published=True), published)
    assert not torch.equal(frame.mask_to_model(mask, published=False), published)


def test_the_editor_asks_for_the_area_unless_told_otherwise():
    for composite in (True, False):
        settings = make_settings({"composite": composite}).resolve()
        drags = make_drags([((20, 20), (60, 60))])
        mask = np.zeros((128, 128), bool)
        mask[17:24, 17:24] = True  # the published resize samples (16, 16)
        placement = place((128, 128), settings, drags, mask, 128, 8)
        assert bool(placement.mask(mask).any()) == composite


# Sentences -----------------------------------------------------------------------------------------------------------


def notes_of(drags, mask):
    return " ".join(place(SIZE, make_settings({}).resolve(), make_drags(drags), mask, 128, 8).notes)


def test_points_outside_the_mask_get_a_sentence():
    inside, outside = (40, 40), (10, 80)
    assert not notes_of([(inside, (80, 50))], SHAPE)
    assert "handle (10, 80) lies outside the mask" in notes_of([(outside, inside)], SHAPE)
    assert "target (10, 80) lies outside the mask" in notes_of([(inside, outside)], SHAPE)
    assert "inverted" in notes_of([(outside, (10, 5))], SHAPE)
    many = [((10 + k, 80), (80, 30)) for k in range(20)]
    assert "(and 19 more)" in notes_of(many, SHAPE)


def test_a_mask_that_lets_everything_change_gets_a_sentence():
    whole = np.ones(SIZE, bool)
    whole[:2] = False
    assert "98 % of the picture" in notes_of([((40, 40), (80, 50))], whole)


@pytest.mark.parametrize("white", [np.full(SIZE, 255, np.uint8), np.ones(SIZE, bool)], ids=["numbers", "bool"])
def test_a_mask_that_is_white_all_over_is_none(model, white):
    editor = sdk.Editor(model, noise(*SIZE))
    drags = [((40, 40), (80, 50))]
    free, masked = (editor.drag(drags, mask=mask, **FAST) for mask in (None, white))
    assert masked.request == free.request
    assert masked.notes == (*free.notes, "The mask lets everything change, so the edit is made as without one.")
    assert np.array_equal(np.array(masked.image), np.array(free.image))


def test_the_editor_says_it_before_any_work(model, caplog):
    image = noise(*SIZE)
    said = []
    with caplog.at_level(logging.WARNING):
        sdk.Editor(model, image).drag(
            [((10, 80), (40, 40))], mask=SHAPE, **FAST, on_progress=lambda _: said.append(caplog.text)
        )
    assert "outside the mask" in said[0]


def test_each_sentence_is_logged_once_and_comes_with_every_result(model, caplog):
    image = noise(*SIZE)
    editor = sdk.Editor(model, image)
    with caplog.at_level(logging.WARNING):
        results = [editor.drag([((10, 80), (40, 40))], mask=encoded(layer(255, 255)), **FAST) for _ in range(2)]
    for part in ("outside the mask", "from its transparency"):
        assert caplog.text.count(part) == 1
        assert all(part in " ".join(result.notes) for result in results)


def test_one_handle_with_two_targets_is_refused():
    with pytest.raises(sdk.InputError, match=r"\(42, 64\) has two targets, \(70, 64\) and \(20, 64\)"):
        make_drags([((42, 64), (70, 64)), ((1, 2), (3, 4)), ((42, 64), (20, 64))])
    assert len(make_drags([((42, 64), (70, 64)), ((20, 64), (70, 64))])) == 2


def test_handles_that_become_one_at_the_working_size_get_a_sentence():
    assert "one point" in notes_of([((40, 40), (80, 40)), ((40.4, 40), (40, 80))], None)
    assert not notes_of([((40, 40), (80, 40)), ((44, 40), (40, 80))], None)


# Nothing outside -----------------------------------------------------------------------------------------------------

PATHS = {"whole": {}, "scaled": {"resolution": 64}, "enlarged": {"resolution": 160}, "cropped": {"crop": "auto"}}


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("path", PATHS)
def test_what_lies_outside_the_mask_comes_back_byte_for_byte(path, channels, model, tmp_path):
    image = noise(130, 170, channels)
    mask = np.zeros((130, 170), bool)
    mask[40:90, 40:100] = True
    away = ~cv2.dilate(mask.astype(np.uint8), np.ones((19, 19), np.uint8)).astype(bool)
    previews = []
    result = sdk.Editor(model, image).drag(
        [((55, 60), (80, 70))],
        mask=mask,
        **FAST,
        **PATHS[path],
        on_progress=lambda event: previews.append(event.preview()) if event.preview else None,
    )
    again = sdk.open_result(result.save_state(tmp_path / "state.safetensors"), model)
    for picture in (result.image, *result.sweep([0, 1.7]), again.at(1.2), *previews):
        pixels = np.array(picture)
        assert np.array_equal(pixels[away], image[away])
        assert not np.array_equal(pixels[mask], image[mask])


def test_the_published_behaviour_can_be_asked_for(model):
    image = noise(130, 170)
    mask = np.zeros((130, 170), bool)
    mask[40:90, 40:100] = True
    result = sdk.Editor(model, image).drag([((55, 60), (80, 70))], mask=mask, composite=False, **FAST)
    assert (np.array(result.image) != image)[100:].mean() > 0.5


def test_the_seam_at_the_mask_is_soft_and_narrow():
    flat = np.full((128, 128, 3), 100, np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[40:90, 40:90] = True
    image = torch.full((1, 3, 128, 128), 180.5 / 255)
    pasted = np.array(compose(image, Frame.of(128, 128), LoadedImage(flat, None), mask))[..., 0]
    assert (pasted[44:86, 44:86] == 180).all()
    assert (pasted[~mask] == 100).all()
    profile = pasted[60].astype(int)
    assert np.abs(np.diff(profile)).max() <= 21


@pytest.mark.parametrize("seam", [0, 1, 20])
def test_the_seam_is_as_wide_as_it_is_asked_for(seam, model):
    flat = np.full((128, 128, 3), 100, np.uint8)
    mask = np.zeros((128, 128), bool)
    mask[20:110, 20:110] = True
    share = Frame.of(128, 128).share(mask, seam)
    assert (share[~mask] == 0).all()
    # Along the middle row, how far the share is below one.
    assert int((share[60, 20:65] < 1).sum()) == max(0, seam - 1)
    picture = np.random.default_rng(0).integers(0, 255, flat.shape, dtype=np.uint8)
    hard, soft = (
        np.array(sdk.Editor(model, picture).drag([((55, 60), (80, 70))], mask=mask, seam=width, **FAST).image)
        for width in (0, 30)
    )
    assert np.array_equal(hard[~mask], soft[~mask])
    assert (hard != soft)[mask].any()
    middle = (slice(62, 68), slice(62, 68))
    assert np.array_equal(hard[middle], soft[middle])
