"""The way from the original to the edit, saved results, and what is pasted back into large pictures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert
from dragtext.sdk.picture.composing import compose
from dragtext.sdk.picture.frame import Frame, box_around
from dragtext.sdk.picture.placement import place
from dragtext.sdk.picture.reading import LoadedImage
from dragtext.sdk.request import Drag
from PIL import Image

from .helpers import noise
from .tiny import tiny_model, write_diffusers_folder

DRAG = [((20, 20), (60, 50))]
FAST = {"lora_steps": 0, "inference_steps": 4}
SHORT = {
    "dragdiffusion": {"steps": 3},
    "dragnoise": {"steps": 3},
    "freedrag": {"steps": 3},
    "gooddrag": {"drag_levels": 2, "tracks_per_level": 1},
}


@pytest.fixture(scope="module")
def results(model):
    editor = sdk.Editor(model, noise(), "a cat")
    return {method: editor.drag(DRAG, method=method, **FAST, **SHORT[method]) for method in LOOPS}


def levels(one, other):
    """Largest difference of two pictures in grey levels."""
    return int(np.abs(np.array(one).astype(int) - np.array(other)).max())


@pytest.mark.parametrize("method", LOOPS)
def test_v_0_is_the_plain_reconstruction_and_v_1_the_result(results, method, model):
    result = results[method]
    assert np.array_equal(np.array(result.at(1)), np.array(result.image))
    frame = Frame.of(70, 93)
    text = model.encode_text("a cat")
    times = TimeGrid.of(result.settings.strength, 4)
    *_, latent = invert(model, times, model.encode_image(frame.image_to_model(noise())).mean, text)
    with torch.no_grad():
        for timestep in times.timesteps:
            latent = ddim_step(model, times, model.predict(latent, timestep, text), latent, timestep)
    plain = frame.part_from_model(model.decode(latent))
    assert levels(result.at(0), plain) <= 1
    assert levels(result.image, plain) > 3


@pytest.mark.parametrize("method", LOOPS)
def test_the_way_goes_on_in_both_directions(results, method):
    result = results[method]
    original = np.array(result.at(0)).astype(int)
    distance = {v: np.abs(np.array(result.at(v)).astype(int) - original).mean() for v in (-1, 0.5, 1, 2)}
    assert 0 < distance[0.5] < distance[1] < distance[2]
    assert distance[-1] > 0


def test_image_and_text_go_separately(results):
    result = results["dragdiffusion"]
    assert levels(result.at(1, text=0), result.at(1)) > 0
    assert levels(result.at(0, text=1), result.at(0)) > 0
    assert np.array_equal(np.array(result.at(1, text=1)), np.array(result.image))


@pytest.mark.parametrize("method", ["dragdiffusion", "dragnoise"])
def test_a_sweep_is_the_single_pictures_in_one_batch(results, method, model, monkeypatch):
    result = results[method]
    values = [0, 0.5, (1.5, 0.5), 1]
    alone = [result.at(0), result.at(0.5), result.at(1.5, 0.5), result.at(1)]
    calls = []
    real = type(model).predict
    monkeypatch.setattr(type(model), "predict", lambda self, *a: (calls.append(len(a[0])), real(self, *a))[1])
    together = result.sweep(values)
    assert all(levels(one, other) <= 1 for one, other in zip(alone, together))
    assert len(calls) == result.rendering.total_steps
    assert set(calls) == {4 + bool(result.settings.shared_attention)}


@pytest.mark.parametrize("v", ["much", None, float("nan"), 1e9, (1, 2, 3)])
def test_a_bad_v_is_refused(results, v):
    with pytest.raises(sdk.InputError):
        results["dragdiffusion"].sweep([v])


def test_no_v_is_refused(results):
    with pytest.raises(sdk.InputError):
        results["dragdiffusion"].sweep([])


@pytest.mark.parametrize("method", LOOPS)
def test_a_saved_result_renders_the_same_again(results, method, model, tmp_path):
    result = results[method]
    path = result.save_state(tmp_path / "state.safetensors")
    again = sdk.open_result(path, model)
    assert again.request == result.request
    assert np.array_equal(np.array(again.at(1)), np.array(result.image))
    assert np.array_equal(np.array(again.at(1.5)), np.array(result.at(1.5)))


def test_a_saved_result_keeps_lora_alpha_mask_and_crop(model, tmp_path):
    rgba = np.dstack([noise(200, 220), noise(200, 220)[..., 0]])
    mask = np.zeros((200, 220), np.uint8)
    mask[30:90, 30:90] = 1
    editor = sdk.Editor(model, rgba, "a cat")
    result = editor.drag(
        [((40, 40), (70, 60))], mask=mask, crop="auto", lora_steps=2, inference_steps=4, method="dragdiffusion", steps=2
    )
    again = sdk.open_result(result.save_state(tmp_path / "state.safetensors"), model)
    assert again.at(1).mode == "RGBA"
    assert np.array_equal(np.array(again.at(1)), np.array(result.image))


def test_a_saved_result_opens_in_another_process(tmp_path):
    """Which takes the same files for the same model: its fingerprint depends on nothing of a process."""
    folder = write_diffusers_folder(tmp_path / "tiny")
    result = sdk.edit(noise(), DRAG, model=folder, method="gooddrag", **FAST, **SHORT["gooddrag"])
    state = result.save_state(tmp_path / "state.safetensors")
    script = "import sys; from dragtext import sdk; sdk.open_result(sys.argv[1], sys.argv[2]).at(1).save(sys.argv[3])"
    out = tmp_path / "out.png"
    subprocess.run([sys.executable, "-c", script, state, folder, out], check=True, timeout=300)
    assert levels(Image.open(out), result.image) <= 1


def test_a_foreign_or_damaged_state_is_refused(results, model, tmp_path):
    from safetensors.torch import save_file

    path = results["dragdiffusion"].save_state(tmp_path / "state.safetensors")
    with pytest.raises(sdk.InputError, match="was made with the model"):
        sdk.open_result(path, tiny_model(seed=5))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(sdk.InputError, match="damaged"):
        sdk.open_result(path, model)
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(sdk.InputError, match="not a saved edit"):
        sdk.open_result(tmp_path / "other.safetensors", model)
    with pytest.raises(sdk.InputError, match="cannot be read"):
        sdk.open_result(tmp_path / "none.safetensors", model)
    with pytest.raises(sdk.InputError, match="safetensors"):
        results["dragdiffusion"].save_state(tmp_path / "state.bin")


# Working size and crop -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("resolution", [None, 64, 160])
def test_crop_keeps_every_byte_outside_its_box(model, masked, resolution):
    image = noise(301, 407)
    drags = [((200, 150), (230, 160))]
    mask = None
    if masked:
        mask = np.zeros((301, 407), np.uint8)
        mask[130:180, 180:250] = 255
    result = sdk.Editor(model, image).drag(
        drags, mask=mask, crop="auto", resolution=resolution, method="dragdiffusion", steps=2, **FAST
    )
    top, left, bottom, right = box_around([Drag(*drags[0])], mask, (301, 407))
    assert 0 < top < bottom < 301
    assert 0 < left < right < 407
    edited = np.array(result.image)
    assert edited.shape == image.shape
    changed = (edited != image).any(axis=2)
    assert changed.any()
    changed[top:bottom, left:right] = False
    assert not changed.any()
    if masked:  # far from the mask nothing changes inside the box either
        assert np.array_equal(edited[top : top + 4, left : left + 4], image[top : top + 4, left : left + 4])
    # Points are in the pixels of the user's image.
    assert result.trajectory[0, 0] == pytest.approx((200, 150), abs=4)
    assert result.drags[0].target == (230, 160)


def test_a_crop_enlarged_to_the_pictures_own_size_is_still_pasted_back(model):
    image = noise(256, 256)
    result = sdk.Editor(model, image).drag(
        [((100, 100), (140, 100))], crop="auto", resolution=256, method="dragdiffusion", steps=1, **FAST
    )
    assert np.array_equal(np.array(result.image)[200:], image[200:])


def test_a_mask_that_no_latent_cell_sees_is_refused(model):
    mask = np.zeros((70, 93), np.uint8)
    mask[21:23, 21:23] = 1
    with pytest.raises(sdk.InputError, match="too small"):
        sdk.Editor(model, noise()).drag([((21, 21), (60, 50))], mask=mask, **FAST)


def test_the_seam_of_a_crop_is_soft(model):
    """A flat picture and a flat edit of another colour: the pasted values never jump by more than a few levels."""
    flat = np.full((300, 300, 3), 100, np.uint8)
    frame = Frame.of(300, 300, box=(80, 90, 200, 210))
    pasted = np.array(compose(torch.full((1, 3, *frame.padded), 160 / 255), frame, LoadedImage(flat, None), None))
    assert np.abs(np.diff(pasted.astype(int), axis=0)).max() <= 12
    assert np.abs(np.diff(pasted.astype(int), axis=1)).max() <= 12
    assert pasted[140, 150, 0] in (159, 160)
    assert (pasted[:80] == 100).all()


def test_resolution_scales_the_work_and_gives_back_the_size(model):
    image = noise(120, 250)
    result = sdk.Editor(model, image).drag([((60, 60), (120, 60))], resolution=96, method="gooddrag",
                                           **FAST, **SHORT["gooddrag"])  # fmt: skip
    assert result.image.size == (250, 120)
    _, _, rows, cols = result.latent_after.shape
    assert rows * cols * 64 == pytest.approx(96 * 96, rel=0.15)
    assert cols / rows == pytest.approx(250 / 120, rel=0.15)


def test_a_large_picture_is_scaled_to_the_model_with_a_note(model):
    def placed(**settings):
        drags = (Drag((100, 100), (300, 300)),)
        asked = sdk.Settings(**settings).resolve()
        return place((1100, 1200), asked, drags, None, model.native_resolution, model.size_multiple)

    whole = placed()
    assert any("crop" in note for note in whole.notes)
    assert whole.frame.work[0] * whole.frame.work[1] == pytest.approx(model.native_resolution**2, rel=0.3)
    assert not placed(crop="auto").notes


def test_points_survive_crop_and_scale():
    frame = Frame.of(3000, 4000, pixels=512 * 512, box=(1000, 1500, 1800, 2700))
    drags = [Drag((1600, 1100), (2500.0, 1700.0))]
    handles, targets = frame.to_grid(drags)
    cell = frame.pixels_per_cell
    assert frame.to_pixels(handles)[0] == pytest.approx((1600, 1100), abs=cell)
    assert frame.to_pixels(targets)[0] == pytest.approx((2500, 1700), abs=cell)
    mask = np.zeros((3000, 4000), np.uint8)
    mask[1400:1800, 2100:2700] = 1  # the lower right quarter of the box
    latent = frame.mask_to_model(mask)[0, 0]
    rows, cols = latent.shape
    assert latent[rows // 2 + 1 :, cols // 2 + 1 :].all()
    assert not latent[: rows // 2 - 1].any()
