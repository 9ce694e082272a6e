"""Every DragDiffusion reference trajectory, step by step, with the gradients the published code effectively uses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import dragdiffusion
from dragtext.sdk.drag.denoise import denoise
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.frame import Frame
from dragtext.sdk.model.schedule import TimeGrid, invert
from dragtext.sdk.request import make_drags, make_settings

from .conftest import assert_quantile_close, case_ids

CASES = case_ids("dragdiffusion") or [pytest.param("none", marks=pytest.mark.skip("no reference trajectories"))]


def settings_of(case):
    text = case["variant"] == "dragtext"
    return make_settings(
        {
            "method": "dragdiffusion",
            "gradients": "official",
            "text": text,
            "steps": case["steps"],
            "lr": case["lr"],
            "mask_weight": case["lam"],
            "strength": case["strength"],
            "feature_block": case["feature_idx"],
            "supervision_radius": case["r_m"],
            "tracking_radius": case["r_p"],
            "text_lr": case.get("text_lr") or 0.004,
            "text_weight": (case.get("text_lam") or 0.0) if case.get("text_reg") else 0.0,
            "lora_steps": 0,
        }
    ).resolve()


@pytest.mark.parametrize("case_id", CASES)
def test_trajectory(case_id, model, load_case):
    case, data = load_case(case_id)
    settings = settings_of(case)
    times = TimeGrid.of(settings.strength, settings.inference_steps)
    assert (len(times.timesteps), times.start) == (case["n_act"], case["t"])

    # Preparation: text, autoencoder, inversion, points, mask.
    text = model.encode_text(case["prompt"])
    assert text.content_length == int(data["pad_idx"])
    assert np.abs(text.embedding.numpy() - data["c0"]).max() < 1e-5
    frame = Frame.of(case["H"], case["W"], model.size_multiple)
    z_vae = model.encode_image(frame.image_to_model(data["image"])).mean
    assert np.abs(z_vae.numpy() - data["z_vae"]).max() < 1e-4
    *_, inverted = invert(model, times, z_vae, text.embedding)
    assert np.abs(inverted.numpy() - data["z_inv"]).max() < 1e-4
    handles, targets = frame.to_grid(make_drags(case["points_xy"]))
    assert np.array_equal(handles, data["handles0"])
    assert np.array_equal(targets, data["targets"])
    mask = frame.mask_to_model(data["mask"])
    assert np.array_equal(mask.numpy(), data["mask_latent"])

    problem = DragProblem(
        model=model,
        times=times,
        latent=torch.from_numpy(data["z_inv"]),
        text=text,
        handles=handles,
        targets=targets,
        grid=frame.grid,
        mask=mask if data["mask"].any() else None,
        settings=settings,
    )
    steps = list(dragdiffusion.steps(problem))
    updates = [step for step in steps if step.updated]
    assert len(updates) == len(data["x_after"])

    # Points: exact at every tracking. The extra look after the last update has no counterpart.
    tracked = [step.handles for step in steps[1:]]
    expected = data["handles"]
    if not steps[-1].reached:
        tracked = tracked[:-1]
    assert len(tracked) == len(expected)
    for ours, theirs in zip(tracked, expected):
        assert np.array_equal(ours, theirs)

    # Losses: the first backward of every iteration is the full loss.
    per_iteration = 2 if settings.text else 1
    assert np.allclose([s.loss for s in updates], data["losses"][::per_iteration], rtol=1e-4)

    latents = np.stack([step.latent.numpy() for step in updates]).reshape(data["x_after"].shape)
    assert_quantile_close(latents, data["x_after"], 1e-4, 2 * settings.lr, "latent")
    assert_quantile_close(steps[-1].latent, data["z_final"], 1e-4, 2 * settings.lr, "final latent")
    if settings.text:
        texts = np.stack([step.text.numpy() for step in updates]).reshape(data["c_after"].shape)
        assert_quantile_close(texts, data["c_after"], 1e-4, 2 * settings.text_lr, "text")

    if case["kind"] == "flow":
        pair = torch.cat([problem.latent, steps[-1].latent])
        embeddings = torch.cat([text.embedding, steps[-1].text])
        *_, clean = denoise(model, times, pair, embeddings, settings)
        image = model.decode(clean[1:])
        assert np.abs(image[0].numpy() - data["image_float"]).mean() < 1e-4
        levels = np.abs(frame.image_from_model(image).astype(int) - data["image_u8"].astype(int))
        assert (levels <= 1).mean() >= 0.99
