"""The whole flow on a tiny random model: sizes, caches, interruption, and a model that is left as it was."""

from __future__ import annotations

import io
import json
import logging

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.model import cache
from dragtext.sdk.request import Request, make_drags
from PIL import Image

from .helpers import noise

FAST = {"method": "dragdiffusion", "steps": 3, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
DRAG = [((20, 20), (60, 50))]


def unet_state(model):
    return {name: tensor.clone() for name, tensor in model.unet.state_dict().items()}


@pytest.mark.parametrize("size", [(64, 64), (70, 93), (129, 64), (65, 200)])
def test_the_output_has_exactly_the_input_size(model, size):
    result = sdk.Editor(model, noise(*size)).drag([((10, 10), (40, 40))], **FAST)
    assert result.image.size == (size[1], size[0])
    assert result.image.mode == "RGB"


def test_all_forms_of_input_give_the_same_picture(model, tmp_path):
    array = noise()
    path = tmp_path / "in.png"
    Image.fromarray(array).save(path)
    results = [
        sdk.edit(source, DRAG, model=model, **FAST).image
        for source in (array, Image.fromarray(array), path, str(path), path.read_bytes())
    ]
    results += [
        sdk.edit(array, model=model, source_points=[(20, 20)], target_points=[(60, 50)], **FAST).image,
        sdk.edit(array, [(20, 20), (60, 50)], model=model, **FAST).image,
        sdk.edit(array, [sdk.Drag((20, 20), (60, 50))], model=model, **FAST).image,
    ]
    first = np.array(results[0])
    assert all(np.array_equal(first, np.array(other)) for other in results[1:])


def test_alpha_and_exif_orientation(model):
    rgba = noise(channels=4)
    result = sdk.Editor(model, rgba).drag(DRAG, **FAST)
    assert result.image.mode == "RGBA"
    assert np.array_equal(np.array(result.image)[..., 3], rgba[..., 3])

    turned = Image.fromarray(noise())
    exif = turned.getexif()
    exif[0x0112] = 6  # rotate by 90 degrees to view
    buffer = io.BytesIO()
    turned.save(buffer, "PNG", exif=exif)
    assert sdk.Editor(model, buffer.getvalue()).drag(DRAG, **FAST).image.size == (70, 93)


def test_the_second_drag_pays_for_no_preparation(model):
    phases = []
    editor = sdk.Editor(model, noise(), "a cat")
    first = editor.drag(DRAG, **FAST, on_progress=lambda event: phases.append(event.phase))
    assert {"identity", "invert", "drag", "denoise"} == set(phases)
    phases.clear()
    again = editor.drag(DRAG, **FAST, on_progress=lambda event: phases.append(event.phase))
    assert {"drag", "denoise"} == set(phases)
    assert np.array_equal(np.array(first.image), np.array(again.image))
    phases.clear()
    other = sdk.Editor(model, noise(), "a cat").drag(DRAG, **FAST, on_progress=lambda e: phases.append(e.phase))
    assert "identity" not in phases  # from disk
    assert np.array_equal(np.array(first.image), np.array(other.image))


def test_the_cache_knows_image_prompt_and_settings(model):
    for image, prompt, rank in (
        (noise(), "a", 4),
        (255 - noise(), "a", 4),
        (noise(), "b", 4),
        (noise(), "a", 5),
    ):
        sdk.Editor(model, image, prompt).drag(DRAG, **FAST, lora_rank=rank)
    assert len(list(cache.cache_folder().iterdir())) == 4


def test_a_damaged_cache_entry_is_rebuilt(model, caplog):
    first = sdk.Editor(model, noise()).drag(DRAG, **FAST)
    (entry,) = cache.cache_folder().iterdir()
    entry.write_bytes(b"junk")
    with caplog.at_level(logging.WARNING):
        again = sdk.Editor(model, noise()).drag(DRAG, **FAST)
    assert "rebuilt" in caplog.text
    assert np.array_equal(np.array(first.image), np.array(again.image))
    assert entry.stat().st_size > 100


def test_the_model_is_as_it_was_after_success_error_and_interrupt(model):
    before = unet_state(model)
    editor = sdk.Editor(model, noise())
    editor.drag(DRAG, **FAST)

    def fail(event):
        if event.phase == "drag":
            raise ValueError("from a callback")

    with pytest.raises(ValueError, match="from a callback"):
        editor.drag(DRAG, **FAST, on_progress=fail)
    with pytest.raises(sdk.InterruptedEditError):
        editor.drag(DRAG, **{**FAST, "lora_steps": 3}, should_stop=lambda: True)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.unet.state_dict().items())
    assert not any(module._forward_hooks for module in model.unet.modules())
    assert not any(p.requires_grad or p.grad is not None for p in model.unet.parameters())


def test_a_stop_during_the_drag_keeps_what_was_reached(model):
    editor = sdk.Editor(model, noise())
    done = []
    result = editor.drag(
        DRAG,
        **{**FAST, "steps": 50},
        on_progress=lambda event: done.append(event) if event.phase == "drag" else None,
        should_stop=lambda: len(done) >= 2,
        trace=True,
    )
    assert result.stopped == "interrupted"
    assert result.steps == 2
    assert result.trace.latent.shape[0] == 3
    short = editor.drag(DRAG, **{**FAST, "steps": 2})
    assert np.array_equal(np.array(result.image), np.array(short.image))


def test_the_result_tells_what_happened(model):
    result = sdk.Editor(model, noise(), "a cat").drag(DRAG, **FAST, trace=True)
    assert result.stopped in ("steps", "reached")
    assert len(result.losses) == result.steps == 3
    assert result.trajectory.shape == (4, 1, 2)
    assert tuple(result.trajectory[0, 0]) == (20, 20)
    (report,) = result.drags
    assert report.distance_before == pytest.approx(50)
    assert report.final == tuple(result.trajectory[-1, 0])
    assert torch.equal(torch.from_numpy(result.trace.latent[:1]), result.latent_before)
    assert torch.equal(torch.from_numpy(result.trace.text[-1:]), result.text_after)
    assert not torch.equal(result.text_before, result.text_after)
    assert result.settings.lr == 0.01
    assert result.request.settings.lr is None


def test_the_mask_protects_what_it_does_not_cover(model):
    """With a heavy background weight the unmasked latent moves less."""
    mask = np.zeros((70, 93), np.uint8)
    mask[:, :48] = 1
    options = {**FAST, "steps": 8, "shared_attention": False}
    free = sdk.Editor(model, noise()).drag([((10, 10), (40, 40))], **options)
    held = sdk.Editor(model, noise()).drag([((10, 10), (40, 40))], mask=mask, mask_weight=5, **options)

    def change(result):
        return (result.latent_after - result.latent_before)[..., 6:].abs().mean()

    assert change(held) < change(free)


def test_v_prediction_runs(tmp_path):
    from .tiny import tiny_model

    result = sdk.Editor(tiny_model(prediction_type="v_prediction"), noise()).drag(DRAG, **FAST)
    assert result.steps == 3


@pytest.mark.parametrize(
    "arguments",
    [
        {"drags": []},
        {"drags": [((1, 1), (1, 1))]},
        {"drags": [((1, 1), (float("inf"), 1))]},
        {"drags": [(1, 2), (3, 4), (5, 6)]},
        {"drags": "nonsense"},
        {"drags": 7},
        {"drags": [((-1, 1), (5, 5))]},
        {"source_points": [(1, 1)], "target_points": [(2, 2), (3, 3)]},
        {"source_points": [(1, 1)]},
        {"drags": DRAG, "mask": np.zeros((70, 93))},
        {"drags": DRAG, "mask": np.ones((7, 9))},
        {"drags": DRAG, "mask": np.full((70, 93), np.nan)},
        {"drags": DRAG, "speed": 3},
        {"drags": DRAG, "steps": 0},
        {"drags": DRAG, "strength": 1.5},
        {"drags": DRAG, "method": "magic"},
    ],
)
def test_bad_requests_are_refused(model, arguments):
    drags = arguments.pop("drags", None)
    with pytest.raises(sdk.InputError):
        sdk.Editor(model, noise()).drag(drags, **arguments)


@pytest.mark.parametrize(
    "image",
    [np.zeros((70, 93)), np.zeros((70, 93), np.uint8), np.zeros((0, 0, 3), np.uint8), b"", 3, None, "none.png"],
)
def test_bad_images_are_refused(model, image):
    with pytest.raises(sdk.InputError):
        sdk.Editor(model, image)


def test_a_request_survives_json(model, tmp_path):
    mask = np.zeros((70, 93), np.uint8)
    mask[10:60, 10:80] = 1
    result = sdk.Editor(model, noise(), 'a "cat"').drag(DRAG, mask=mask, **FAST)
    copy = Request.from_json(result.request.to_json())
    assert copy == result.request
    assert json.loads(copy.to_json())["drags"] == [[[20, 20], [60, 50]]]
    assert make_drags(copy.drags) == copy.drags
    again = sdk.edit(noise(), copy.drags, prompt=copy.prompt, mask=copy.mask, model=model, settings=copy.settings)
    assert np.array_equal(np.array(again.image), np.array(result.image))
