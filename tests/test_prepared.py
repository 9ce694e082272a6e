"""What is paid once per picture: keys that hold every input, a bound in memory, values that nobody can make stale."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk import prepared as module
from dragtext.sdk.drag import gooddrag
from dragtext.sdk.model.schedule import TimeGrid
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.prepared import Prepared

from .helpers import noise
from .tiny import tiny_model

FAST = {"method": "dragdiffusion", "steps": 1, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
DRAG = [((20, 20), (60, 50))]


def test_neither_prompt_nor_picture_of_an_editor_can_be_changed(model):
    array = noise()
    editor = sdk.Editor(model, array, "a cat")
    before = editor.drag(DRAG, **FAST)
    with pytest.raises(AttributeError):
        editor.prompt = "a dog"
    with pytest.raises(ValueError, match="read-only"):
        editor.picture[0, 0] = 0
    array[:] = 0  # the caller's own
    assert editor.prompt == "a cat"
    assert np.array_equal(editor.picture, noise())
    assert np.array_equal(np.array(editor.drag(DRAG, **FAST).image), np.array(before.image))


def keys(model, *, rgb=None, prompt="a cat", frame=None, strength=0.7, **settings):
    """Keys of all that one edit prepares."""
    rgb = noise() if rgb is None else rgb
    found = Prepared(rgb, prompt)
    resolved = sdk.Settings(**{**FAST, "strength": strength, **settings}).resolve()
    frame = frame or Frame.of(*rgb.shape[:2])
    times = TimeGrid.of(resolved.strength, resolved.inference_steps)
    steps = {
        "text": lambda: [found.text(model, frame)],
        "latents": lambda: [found.latents(model, frame)],
        "lora": lambda: found.identity(model, frame, resolved),
        "inverted": lambda: found.inverted(model, frame, times, resolved),
    }
    last = {"stored": found._identity_key(model, frame, resolved)}
    for name, step in steps.items():
        for _ in step():
            pass
        last[name] = next(reversed(found._kept))
    return last


@pytest.fixture(scope="module")
def standard(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dragtext.sdk.model.cache.save_tensors", lambda *_: None)
        return keys(model)


ALL = {"text", "latents", "lora", "stored", "inverted"}
LATER = {"lora", "stored", "inverted"}


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({}, set()),
        ({"rgb": noise(seed=1)}, {"latents", *LATER}),
        ({"rgb": noise().reshape(93, 70, 3)}, {"text", "latents", *LATER}),
        ({"prompt": "a dog"}, {"text", *LATER}),
        ({"frame": Frame.of(70, 93, pixels=64 * 64)}, {"text", "latents", *LATER}),
        ({"frame": Frame.of(70, 93, box=(0, 0, 64, 64))}, {"text", "latents", *LATER}),
        ({"strength": 0.5}, LATER),  # the quick LoRA learns the levels that the edit visits
        ({"inference_steps": 10}, LATER),
        ({"identity": "published"}, LATER),
        ({"lora_steps": 1}, LATER),
        ({"lora_lr": 1e-3}, LATER),
        ({"lora_rank": 3}, LATER),
        ({"lora_batch": 2}, LATER),
        ({"seed": 7}, LATER),
        ({"lr": 0.5, "text": False, "steps": 9}, set()),
    ],
)
def test_keys_hold_every_input_and_nothing_else(model, standard, change, changed):
    found = keys(model, **change)
    assert {name for name in ALL if found[name] != standard[name]} == changed


def test_the_published_lora_serves_any_strength(model, standard):
    first, second = (keys(model, identity="published", strength=strength) for strength in (0.7, 0.5))
    assert {name for name in ALL if first[name] != second[name]} == {"inverted"}


@pytest.mark.parametrize("change", ["fingerprint", "prediction_type", "dtype", "device", "algorithm"])
def test_keys_hold_what_the_model_computes_with(standard, monkeypatch, change):
    model = tiny_model()
    if change == "algorithm":
        monkeypatch.setattr(module, "ALGORITHM", module.ALGORITHM + 1)
    elif change == "device":
        model.device = torch.device("cpu:0")  # the same, under another name
    else:
        values = {"fingerprint": "another", "prediction_type": "v_prediction", "dtype": torch.float64}
        setattr(model, change, values[change])
        if change == "dtype":
            model.unet.to(torch.float64)
    found = keys(model)
    # A LoRA from the disk serves every device.
    assert {name for name in ALL if found[name] != standard[name]} == (ALL - {"stored"} if change == "device" else ALL)


def test_memory_is_bounded_and_the_least_recently_used_goes_first(model, monkeypatch):
    """Every value is found again or made again, and is the same."""
    calls = []
    encode = model.encode_image
    monkeypatch.setattr(model, "encode_image", lambda image: calls.append(1) or encode(image))
    frames = [Frame.of(70, 93, box=(0, 0, 64, right)) for right in (64, 72, 80)]
    prepared = Prepared(noise(), "a cat")
    sizes = [module._bytes(prepared.latents(model, frame)) for frame in frames]
    assert len(calls) == 3
    monkeypatch.setattr(module, "MEMORY", sum(sizes[1:]))
    prepared = Prepared(noise(), "a cat")
    first = prepared.latents(model, frames[0])
    prepared.latents(model, frames[1])
    prepared.latents(model, frames[2])  # the first has to go
    calls.clear()
    prepared.latents(model, frames[1])
    prepared.latents(model, frames[2])
    assert not calls
    assert torch.equal(prepared.latents(model, frames[0]).mean, first.mean)
    assert len(calls) == 1
    monkeypatch.setattr(module, "MEMORY", 0)
    editor = sdk.Editor(model, noise())
    assert np.array_equal(
        np.array(editor.drag(DRAG, **FAST).image), np.array(sdk.Editor(model, noise()).drag(DRAG, **FAST).image)
    )
    assert len(editor._prepared._kept) == 1


GOODDRAG = {"method": "gooddrag", "steps": 8, "drag_levels": 3, "tracks_per_level": 2, "lora_steps": 0}
OTHERS = [{}, {"feature_block": 2}, {"drag_levels": 2}, {"guidance": 2.0}, {"feature_guidance": 2.0}, {"strength": 0.5}]


def test_gooddrags_original_is_looked_at_once_per_picture(model, monkeypatch):
    looked = []
    look = gooddrag.original_trajectory
    monkeypatch.setattr(gooddrag, "original_trajectory", lambda *args: looked.append(1) or look(*args))
    editor = sdk.Editor(model, noise(), "a cat")
    first, second = [((20, 20), (60, 50))], [((50, 20), (30, 50))]
    editor.drag(first, **GOODDRAG)
    again = editor.drag(second, **GOODDRAG)
    assert len(looked) == 1
    fresh = sdk.Editor(model, noise(), "a cat").drag(second, **GOODDRAG)
    assert len(looked) == 2
    assert torch.equal(again.latent_after, fresh.latent_after)
    for more in OTHERS[1:]:
        editor.drag(first, **{**GOODDRAG, **more})
    assert len(looked) == 2 + len(OTHERS) - 1
    for more in OTHERS:
        editor.drag(second, **{**GOODDRAG, **more})
    assert len(looked) == 2 + len(OTHERS) - 1
    looked.clear()
    for _ in range(2):  # where memory is saved, nothing stays on the device
        editor.drag(first, **GOODDRAG, memory="lean")
    assert len(looked) == 2
