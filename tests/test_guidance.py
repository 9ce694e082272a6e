"""Classifier-free guidance: what it computes, where it counts, and that without it nothing changes."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS, loop_of
from dragtext.sdk.model.guidance import Guidance, predict
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert
from dragtext.sdk.settings import make_settings

from .helpers import noise
from .problems import make_problem

DRAG = [((20, 20), (60, 50))]
FAST = {"lora_steps": 0, "inference_steps": 4, "method": "dragdiffusion", "steps": 2}


def random_latent():
    return torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))


def test_a_prediction_goes_away_from_the_negative_prompts(model):
    text, against, latent = model.encode_text("a cat"), model.encode_text("a dog"), random_latent()
    with torch.no_grad():
        one, other = model.predict(latent, 500, text), model.predict(latent, 500, against)
        assert torch.equal(predict(model, latent, 500, text, Guidance(against, 3.0)), other + 3 * (one - other))
        assert torch.equal(predict(model, latent, 500, text, Guidance(against)), one)
        assert torch.equal(predict(model, latent, 500, text, None), one)


def test_a_ramp_rises_from_none_on_the_clean_picture(model):
    times = TimeGrid.of(0.6, 50)
    settings = make_settings({"guidance": 3.0, "guidance_schedule": "ramp"}).resolve()
    guidance = Guidance.of(settings, times.start, model.encode_text(""))
    scales = [guidance.at(timestep) for timestep in times.timesteps]
    assert scales[0] == 3.0
    assert scales[-1] == pytest.approx(1.0, abs=0.01)
    assert np.allclose(np.diff(scales), np.diff(scales)[0])
    same = make_settings({"guidance_schedule": "constant"}, settings).resolve()
    assert Guidance.of(same, times.start, model.encode_text("")).at(1) == 3.0


def test_features_of_both_prompts_are_weighted_as_in_dragdiffusions_code(model):
    one, other = torch.rand(1, 5, 4, 4), torch.rand(1, 5, 4, 4)
    both = Guidance(model.encode_text(""), features=3.0).both(one, other)
    assert torch.allclose(both, torch.cat([0.4 * other, 0.6 * one], 1))  # 3 / (2 * 3 - 1)


def with_guidance(problem, **more):
    settings = make_settings(more, problem.settings).resolve()
    against = problem.model.encode_text(settings.negative_prompt)
    return replace(problem, settings=settings, guidance=Guidance.of(settings, problem.times.start, against))


@pytest.mark.parametrize("method", LOOPS)
def test_a_scale_of_1_is_the_published_loop_to_the_bit(model, method):
    problem = make_problem(model, method)
    plain, guided = (list(loop_of(method)(one)) for one in (problem, with_guidance(problem, negative_prompt="a dog")))
    assert len(plain) == len(guided) > 1
    for one, other in zip(plain, guided):
        assert torch.equal(one.latent, other.latent)
        assert torch.equal(one.text, other.text)


@pytest.mark.parametrize("method", LOOPS)
@pytest.mark.parametrize("how", [{"guidance": 2.0}, {"feature_guidance": 2.0}], ids=str)
def test_every_loop_is_guided_and_optimises_the_prompts_embedding_alone(model, method, how):
    problem = with_guidance(make_problem(model, method), negative_prompt="a dog", **how)
    against = problem.guidance.against.tokens.clone()
    plain, guided = (list(loop_of(method)(one))[-1] for one in (replace(problem, guidance=None), problem))
    assert not torch.equal(plain.text, guided.text)
    assert torch.equal(problem.guidance.against.tokens, against)
    assert not against.requires_grad


def test_the_background_is_that_of_guided_predictions(model):
    """Both sides of the term are: where nothing was changed it is 0."""
    problem = with_guidance(make_problem(model, "dragdiffusion"), guidance=3.0)
    with torch.no_grad():
        _, previous = problem.evaluate(problem.latent, problem.text.tokens)
        guided = predict(model, problem.latent, problem.times.start, problem.text, problem.guidance)
    expected = ddim_step(model, problem.times, guided, problem.latent, problem.times.start)
    assert torch.allclose(previous, expected, atol=1e-6)
    first = next(iter(loop_of("dragdiffusion")(problem)))
    motion_alone = next(iter(loop_of("dragdiffusion")(with_guidance(problem, mask_weight=0.0))))
    assert first.loss == pytest.approx(motion_alone.loss, abs=1e-6)


def test_what_dragnoise_remembers_of_one_prompt_is_not_the_others(model, monkeypatch):
    problem = with_guidance(make_problem(model, "dragnoise", text=False), feature_guidance=2.0, guidance=2.0)
    fast = list(loop_of("dragnoise")(problem))
    monkeypatch.setattr("dragtext.sdk.drag.dragnoise.remember", lambda *_: nullcontext())
    slow = list(loop_of("dragnoise")(problem))
    assert all(torch.equal(one.bottleneck, other.bottleneck) for one, other in zip(fast, slow))


@pytest.mark.parametrize("shared", [False, True])
def test_inversion_and_denoise_are_guided_alike(model, shared):
    """Of the same scale in both directions; by hand, item by item."""
    editor = sdk.Editor(model, noise(), "a cat")
    result = editor.drag(DRAG, guidance=2.0, negative_prompt="a dog", shared_attention=shared, **FAST)
    rendering, times = result.rendering, result.rendering.times
    guidance = Guidance.of(result.settings, times.start, model.encode_text("a dog"))
    text, frame = model.encode_text("a cat"), rendering.frame
    *_, latent = invert(model, times, model.encode_image(frame.image_to_model(noise())).mean, text, guidance)
    assert torch.allclose(rendering.latent_before, latent, atol=1e-5)
    with torch.no_grad():
        for timestep in times.timesteps:
            prediction = guidance.away(
                model.predict(latent, timestep, text), model.predict(latent, timestep, guidance.against), timestep
            )
            latent = ddim_step(model, times, prediction, latent, timestep)
    plain = np.array(frame.part_from_model(model.decode(latent))).astype(int)
    assert np.abs(plain - np.array(result.at(0))).max() <= 1


def test_each_guidance_has_an_inversion_of_its_own(model):
    editor = sdk.Editor(model, noise(), "a cat")
    ways = [
        {},
        {"guidance": 2.0},
        {"guidance": 2.0, "guidance_schedule": "ramp"},
        {"guidance": 2.0, "negative_prompt": "a dog"},
        {"feature_guidance": 2.0},
        {},
    ]
    pictures = [editor.drag(DRAG, **FAST, **way).image.tobytes() for way in ways]
    assert len(set(pictures)) == len(ways) - 1
    assert pictures[0] == pictures[-1]
    for way, picture in zip(ways[1:3], pictures[1:3]):
        assert sdk.Editor(model, noise(), "a cat").drag(DRAG, **FAST, **way).image.tobytes() == picture


def test_without_guidance_a_negative_prompt_is_not_read(editor, monkeypatch):
    plain = editor.drag(DRAG, **FAST).image.tobytes()
    monkeypatch.setattr(type(editor.model), "encode_negative", lambda *_: pytest.fail("it was read"))
    assert editor.drag(DRAG, **FAST, negative_prompt="a dog").image.tobytes() == plain


def test_a_saved_edit_is_rendered_again_with_its_guidance(xl, tmp_path):
    result = sdk.Editor(xl, noise(), "a cat").drag(DRAG, guidance=2.0, feature_guidance=2.0, **FAST)
    again = sdk.open_result(result.save_state(tmp_path / "edit.safetensors"), xl)
    for v in (0.5, 1):
        assert again.at(v).tobytes() == result.at(v).tobytes()


def test_sdxl_takes_zeros_for_no_negative_prompt(model, xl):
    nothing, something = xl.encode_negative("", (64, 64)), xl.encode_negative("a dog", (64, 64))
    assert not nothing.tokens.any()
    assert not nothing.fixed["text_embeds"].any()
    assert torch.equal(nothing.fixed["time_ids"], something.fixed["time_ids"])
    assert something.tokens.any()
    assert something.fixed["text_embeds"].any()
    assert torch.equal(model.encode_negative("").tokens, model.encode_text("").tokens)


def test_what_does_nothing_is_said(editor):
    result = editor.drag(DRAG, **FAST, negative_prompt="a dog", hold_background=True)
    said = " ".join(result.notes)
    assert "not read without guidance" in said
    assert "no background to hold" in said


@pytest.mark.parametrize(
    "wrong",
    [{"guidance": 0.5}, {"feature_guidance": 31}, {"negative_prompt": "\ud800"}, {"negative_prompt": "a" * 10_001}],
)
def test_what_cannot_be_is_said(wrong):
    with pytest.raises(sdk.InputError, match=next(iter(wrong))):
        make_settings(wrong)
