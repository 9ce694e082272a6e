"""Getting by with less memory: what is done about it, that it changes nothing, and its undoing."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.evaluation.drawing import draw_scene
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_scene
from dragtext.sdk.model import load as loading
from dragtext.sdk.model import memory
from dragtext.sdk.model.identity import fit
from dragtext.sdk.model.means import NONE, TILE, Ability, Means, choose, phases, refuse
from dragtext.sdk.model.needs import Outline, Unit, outline
from dragtext.sdk.model.recompute import recomputed
from dragtext.sdk.settings import make_settings

from .helpers import noise
from .problems import make_problem
from .tiny import tiny_model, tiny_xl, write_diffusers_folder

DRAG = [((20, 20), (60, 50))]
FAST = {
    "steps": 2,
    "lora_steps": 2,
    "lora_rank": 2,
    "lora_batch": 4,
    "inference_steps": 4,
    "drag_levels": 1,
    "strength": 0.5,
}
GIGABYTE = 2**30
PLENTY = 10**15


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def state_of(model):
    """What means touch."""
    unet = [("forward" in vars(module), len(module._forward_hooks)) for module in model.unet.modules()]
    vae = [getattr(model.vae, name) for name in ("use_tiling", "tile_sample_min_size", "tile_latent_min_size")]
    return unet, vae, model._rests


# Each means changes nothing, or as little as it says


@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize("more", [{"gradients": "official"}, {"mask": None, "text": False}])
def test_blocks_that_are_computed_again_change_no_bit(model, method, more):
    before = state_of(model)
    ways = []
    for way in (nullcontext(), recomputed(model)):
        with way:
            ways.append(list(loop_of(method)(make_problem(model, method, **more))))
    for one, other in zip(*ways, strict=True):
        assert one.loss == other.loss
        assert torch.equal(one.latent, other.latent)
        assert torch.equal(one.text, other.text)
        assert one.bottleneck is None or torch.equal(one.bottleneck, other.bottleneck)
    assert any(step.updated for step in ways[0])
    assert state_of(model) == before


def test_in_a_wide_network_convolutions_are_computed_again_as_they_were():
    """Those of the CPU go another way, which is a context around the call (`convolution.py`)."""
    wide = tiny_model(width=192)
    assert wide.kept_beside() > 0
    latent, words = torch.randn(1, 4, 32, 32), wide.encode_text("a red cat")
    found = []
    for way in (nullcontext(), recomputed(wide)):
        leaf = latent.clone().requires_grad_()
        with way:
            prediction = wide.predict(leaf, 500, words)
        found.append(torch.autograd.grad(prediction.square().sum(), leaf)[0])
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", [tiny_model, tiny_xl])
def test_a_lora_is_fitted_alike(kind):
    model = kind()
    settings = make_settings({"lora_steps": 2, "lora_rank": 2, "lora_batch": 3, "lora_lr": 1e-3}).resolve()
    latents, text = model.encode_image(torch.zeros(1, 3, 64, 64)), model.encode_text("a red cat")

    def fitted(at_once, way=None):
        with way or nullcontext():
            *_, weights = fit(model, latents, text, settings, at_once)
        return torch.cat([part.detach().flatten() for pair in weights.values() for part in pair])

    whole = fitted(None)
    assert torch.equal(whole, fitted(3))
    assert torch.equal(whole, fitted(None, recomputed(model)))
    for at_once in (1, 2):
        # Adam divides a gradient by its own size, so what is rounded near 0 moves by up to a step.
        assert (fitted(at_once) - whole).abs().mean() < 1e-2 * settings.lora_lr


class InPlace(torch.nn.Module):
    """As Forge's blocks add to what they are given."""

    def forward(self, x):
        kept = x * 1.0
        x += kept.sin()
        return x.exp()


def test_a_block_that_changes_its_input_is_computed_again_from_what_it_was():
    block = type("BasicTransformerBlock", (InPlace,), {})()
    model = SimpleNamespace(unet=torch.nn.Sequential(block), computing=nullcontext)
    found = []
    for way in (nullcontext(), recomputed(model)):
        leaf = torch.linspace(0, 1, 5, requires_grad=True)
        with way:
            output = model.unet(leaf * 2)
        found.append(torch.autograd.grad(output.sum(), leaf, retain_graph=True)[0])
        found.append(torch.autograd.grad(output.sum(), leaf)[0])
    assert all(torch.equal(found[0], other) for other in found)


def test_what_rests_is_on_the_device_for_its_calls_alone(model, monkeypatch):
    """Seen on the CPU by calling it by another name; `meta` would lose the weights."""
    moves = []
    monkeypatch.setattr(model, "device", SimpleNamespace(type="card"))
    names = {id(model.vae): "vae", id(model.text_encoder): "text"}
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda part, place: moves.append((names[id(part)], getattr(place, "type", place)))
    )
    assert model.can_rest
    with suppress(KeyError), model.resting():
        assert moves == [("vae", "cpu"), ("text", "cpu")]
        moves.clear()
        with model._awake(model.vae):
            assert moves == [("vae", "card")]
        assert moves.pop() == ("vae", "cpu")
        moves.clear()
        raise KeyError
    assert moves == [("vae", "card"), ("text", "card")]
    with model._awake(model.vae):
        assert len(moves) == 2


def test_a_model_that_does_not_fit_whole_is_loaded_with_its_companions_beside(tmp_path, monkeypatch, caplog):
    path, load, asked = write_diffusers_folder(tmp_path / "m"), loading.load_folder, []

    def scarce(*given):
        asked.append(given[-1]["rests"])
        if not given[-1]["rests"]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return load(*given)

    monkeypatch.setattr(loading, "load_folder", scarce)
    model = loading.load_model(path, device="cpu")
    assert asked == [False, True]
    assert "wait in the machine's memory" in caplog.text
    assert model._rests
    with model.resting():
        pass
    assert model._rests
    assert torch.equal(model.encode_text("a red cat").tokens, tiny_model().encode_text("a red cat").tokens)
    assert model.fingerprint == tiny_model().fingerprint


# The choice

UNET = Outline(
    unet=2 * GIGABYTE,
    companions=(GIGABYTE // 2, GIGABYTE // 4),
    parts=((Unit(enters=1e3, kept=5e4, tuned=1e3, works=1e4, whole=True),) * 4,) * 6,
    skips=1e3,
    size=2,
    width=128,
    precise=4,
    adapter=200_000,
)
ALL = Ability(rest=True, tiles=True)
BOTH = (768, 768)
ASKED = make_settings({"method": "dragdiffusion", "identity": "published"}).resolve()


def chosen(room, able=ALL, **more):
    settings = make_settings({"method": "dragdiffusion", "identity": "published", **more}).resolve()
    return choose(UNET, able, room, BOTH, settings, masked=True)


def test_where_there_is_room_or_nobody_knows_nothing_is_done():
    assert chosen(PLENTY).means == chosen(None).means == NONE
    assert chosen(PLENTY).note == ""


def test_the_less_there_is_the_more_is_done():
    steps = [chosen(room) for room in range(60 * GIGABYTE, 0, -GIGABYTE // 4)]
    done = [choice.means for choice in steps]
    count = [m.rest + (m.at_once is not None) * (5 - (m.at_once or 0)) + m.again + m.tiles for m in done]
    assert count == sorted(count)
    assert done[-1] == Means(True, 1, True, True)
    for choice in steps:
        fits = choice.needed <= choice.room
        assert fits or choice.means == done[-1]
    needs = [max(phases(UNET, BOTH, ASKED, True, means).values()) for means in dict.fromkeys(done)]
    assert needs == sorted(needs, reverse=True)


def test_two_prompts_are_counted_where_a_backward_pass_goes_through_both():
    def dragged(masked, **more):
        return phases(UNET, BOTH, make_settings(more, ASKED).resolve(), masked, NONE)["drag"]

    assert dragged(True, guidance=2.0) > 1.5 * dragged(True)  # the background's prediction
    assert dragged(False, guidance=2.0) == dragged(False)  # features alone, which are the prompt's
    assert dragged(False, feature_guidance=2.0) > 1.3 * dragged(False)


def test_what_a_backend_cannot_do_is_not_done():
    means = chosen(GIGABYTE, Ability()).means
    assert (means.rest, means.tiles, means.at_once, means.again) == (False, False, 1, True)
    assert chosen(PLENTY, memory="lean").means == Means(True, 1, True, True)
    assert chosen(GIGABYTE, memory="full").means == NONE
    assert chosen(GIGABYTE, lora_steps=0).means.at_once is None
    assert chosen(GIGABYTE, identity="quick").means.at_once is None  # one copy a step as it is


def test_one_sentence_says_what_is_done_and_one_that_nothing_helps():
    choice = chosen(12 * GIGABYTE)
    assert choice.note.startswith("This edit needs about ")
    assert " GB of memory, and 12.0 GB are free for it: text encoders and autoencoder wait in" in choice.note
    assert "(memory='full', --memory full, does none of this)." in choice.note
    assert "\n" not in choice.note
    little = chosen(GIGABYTE)
    with pytest.raises(sdk.NotEnoughMemoryError, match=r"even in the leanest way, and 1.0 GB are free .*memory='lean'"):
        refuse(little, ASKED)
    for insisting in ("lean", "full"):
        refuse(chosen(GIGABYTE, memory=insisting), make_settings({"memory": insisting}).resolve())


def test_what_is_free_is_known_on_linux_and_nowhere_a_reason_to_fail(monkeypatch, tmp_path):
    free = memory.free_memory(torch.device("cpu"))
    assert free is None or free > 2**20
    assert memory.free_memory(torch.device("meta")) is None
    monkeypatch.setattr(memory, "Path", lambda _path: tmp_path)  # neither /proc nor control groups
    monkeypatch.setattr(memory.os, "sysconf", lambda _name: (_ for _ in ()).throw(ValueError), raising=False)
    assert memory.free_memory(torch.device("cpu")) is None


def test_what_shows_in_the_numbers_is_part_of_the_keys():
    settings = make_settings({"lora_batch": 4}).resolve()
    assert Means(again=True).traits(BOTH, settings) == NONE.traits(BOTH, settings) == ()
    assert Means(rest=True).traits(BOTH, settings) != ()
    assert Means(at_once=1).traits(BOTH, settings) != Means(at_once=2).traits(BOTH, settings) != ()
    assert Means(at_once=4).traits(BOTH, settings) == Means(tiles=True).traits((TILE, TILE), settings) == ()
    assert Means(tiles=True).traits(BOTH, settings) != ()


# Edits


def edited(model, **more):
    with pytest.MonkeyPatch.context() as patch:
        room = more.pop("room", None)
        if room is not None:
            patch.setattr(type(model), "free_memory", lambda _model: room)
        return sdk.Editor(model, noise(), "a red cat").drag(DRAG, **{**FAST, **more})


@pytest.fixture(scope="module")
def usual(model):
    return edited(model)


def test_an_edit_does_what_fits_and_says_so(model, usual):
    before = state_of(model)
    assert usual.notes == edited(model, room=PLENTY).notes == ()
    about = outline(model)
    needed = phases(about, (72, 96), usual.settings, False, NONE)
    # Enough for all but the LoRA, and for that with its copies one by one.
    room = int((max(needed.values()) - about.unet - sum(about.companions)) * 0.6)
    result = edited(model, room=room, lora_lr=1e-5)
    (note,) = result.notes
    assert "the LoRA takes " in note
    assert state_of(model) == before
    close = np.abs(np.array(result.image, float) - np.array(edited(model, lora_lr=1e-5).image, float))
    assert close.mean() < 0.5
    with pytest.raises(sdk.NotEnoughMemoryError, match="leanest"):
        edited(model, room=-about.unet)
    assert state_of(model) == before


def test_a_lean_edit_is_the_same_where_nothing_is_rounded(model, usual):
    before = state_of(model)
    lean = edited(model, memory="lean", lora_batch=1, room=0)
    full = edited(model, memory="full", lora_batch=1, room=0)
    assert np.array_equal(np.array(lean.image), np.array(full.image))
    assert torch.equal(lean.latent_after, full.latent_after)
    assert lean.notes == full.notes == ()
    assert state_of(model) == before


@pytest.mark.parametrize("phase", ["identity", "drag", "denoise"])
def test_where_memory_runs_out_a_phase_is_done_once_more(model, usual, monkeypatch, phase):
    before, predict, left = state_of(model), model.predict, [1]

    def scarce(*inputs):
        latent, graph = inputs[0], torch.is_grad_enabled()
        running = {
            "identity": graph and not latent.requires_grad,
            "drag": graph and latent.requires_grad,
            "denoise": not graph and len(latent) == 2,
        }
        if running[phase] and left[0]:
            left[0] -= 1
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return predict(*inputs)

    monkeypatch.setattr(model, "predict", scarce)
    result = edited(model)
    (note,) = result.notes
    assert note.startswith("Memory ran out, so what was left was done in the leanest way: ")
    assert ("the LoRA takes 1 " in note) == (phase == "identity")
    if phase != "identity":
        assert np.array_equal(np.array(result.image), np.array(usual.image))
    assert state_of(model) == before
    for more, tries in (({}, 2), ({"memory": "full"}, 1)) if phase == "identity" else ():
        left[0] = tries
        with pytest.raises(sdk.NotEnoughMemoryError, match="There is not enough memory for this edit"):
            edited(model, seed=tries, **more)
        assert left[0] == 0
        assert state_of(model) == before


def test_a_sweep_goes_on_with_half_as_many_side_by_side(model, usual, monkeypatch):
    predict, seen, told = model.predict, [], []
    values = [0.0, 0.5, 1.0, 1.5, 2.0]

    def scarce(latent, *more):
        seen.append(len(latent))
        if len(latent) > 3:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return predict(latent, *more)

    expected = usual.sweep(values)
    monkeypatch.setattr(model, "predict", scarce)
    found = usual.rendering.sweep(values, lambda done, total: told.append((done, total)))
    assert seen[0] == 6
    assert set(seen[1:]) == {2, 3}
    for one, other in zip(found, expected, strict=True):
        assert np.abs(np.array(one, float) - np.array(other, float)).max() <= 1
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_tiles_are_for_large_pictures_and_nearly_the_same(embedded):
    """On the trained model: what norms of groups make of a tile depends on what the picture shows."""
    before = state_of(embedded)
    scene = torch.from_numpy(draw_scene(make_scene(FIRST_UNSEEN_SEED + 1, TILE + 64))).permute(2, 0, 1)
    picture = scene[None, :, :, 200:264].float() / 127.5 - 1
    small = picture[..., :TILE, :]
    alone, whole = embedded.encode_image(small).mean, embedded.encode_image(picture).mean
    image = embedded.decode(whole)
    with embedded.tiled():
        assert torch.equal(embedded.encode_image(small).mean, alone)
        tiles, drawn = embedded.encode_image(picture).mean, embedded.decode(whole)
    assert tiles.shape == whole.shape
    assert not torch.equal(tiles, whole)
    assert (tiles - whole).abs().mean() < 0.02 * whole.abs().mean()
    assert not torch.equal(drawn, image)
    assert (drawn - image).abs().mean() < 0.005
    assert state_of(embedded) == before
