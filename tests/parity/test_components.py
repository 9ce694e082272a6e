"""The building blocks against the reference: tokens, autoencoder, inversion, features, shared attention, formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from dragtext.sdk.drag.features import FeatureMap
from dragtext.sdk.drag.freedrag import sample, search, template_weight
from dragtext.sdk.drag.tracking import handle_features, track
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.schedule import TimeGrid, alpha_bar, ddim_step, invert, to_epsilon_x0
from dragtext.sdk.model.taps import features_and_prediction, features_only, share_attention
from dragtext.sdk.picture.frame import Frame, mask_to_latent, points_to_grid
from dragtext.sdk.settings import make_settings

from ..helpers import places


def close(actual, expected, limit=1e-4):
    assert np.abs(np.asarray(actual) - expected).max() <= limit


def test_text(model, components):
    for index, prompt in enumerate(components["prompts"]):
        text = model.encode_text(str(prompt))
        assert text.content_length == components["pad_idx"][index]
        close(text.tokens[0], components["text_embeddings"][index], 1e-5)


def test_autoencoder(model, components):
    frame = Frame.of(128, 128, 8)
    close(model.encode_image(frame.image_to_model(components["image"])).mean, components["z_vae"])
    close(model.decode(torch.from_numpy(components["z_vae"])), components["decoded"])


def test_inversion_passes_every_level(model, components):
    times = TimeGrid.of(0.7, 50)
    text = torch.from_numpy(components["text_embeddings"][:1])
    start = torch.from_numpy(components["z_vae"])
    levels = [start, *invert(model, times, start, Conditioning(text))]
    assert len(levels) == len(components["inversion_latents"])
    for ours, theirs in zip(levels, components["inversion_latents"]):
        close(ours[0], theirs)


def test_features_and_ddim_step(model, components):
    times = TimeGrid.of(0.7, 50)
    timestep = int(components["t"])
    assert times.start == timestep
    text = torch.from_numpy(components["text_embeddings"][:1])
    latent = torch.from_numpy(components["inversion_latents"][-1:])
    with torch.no_grad():
        for block in range(5):
            early = features_only(model, latent, timestep, Conditioning(text), block)
            close(early, components[f"feature_{block}"])
            full, prediction = features_and_prediction(model, latent, timestep, Conditioning(text), block)
            assert torch.equal(early, full)
        close(prediction, components["eps"])
        close(ddim_step(model, times, prediction, latent, timestep), components["x_prev"])
        _, x0 = to_epsilon_x0(prediction, latent, alpha_bar(model, timestep), "epsilon")
        close(x0, components["pred_x0"], 1e-3)


def test_feature_grid_rows(components):
    native = torch.from_numpy(components["feature_3"])
    window = FeatureMap(native, (64, 64)).windows(torch.tensor([[32, 32]]), 32)[0, :, 32:34, :64]
    close(window, components["feature_3_up_rows"], 1e-5)


def test_shared_attention(model, components):
    latents = torch.cat(
        [
            torch.from_numpy(components["inversion_latents"][-1:]),
            torch.from_numpy(components["msa_z_edit"]),
        ]
    )
    text = torch.from_numpy(components["text_embeddings"][:2])
    timestep = int(components["t"])
    with torch.no_grad():
        plain = model.predict(latents, timestep, Conditioning(text))
        with share_attention(model, 2):
            shared = model.predict(latents, timestep, Conditioning(text))
    close(plain, components["eps_pair_plain"])
    close(shared, components["eps_pair_msa"])
    assert (shared[1] - plain[1]).abs().max() > 1e-2


def test_tracking(components):
    grid = components["op_F0"].shape[2:]
    start = FeatureMap(torch.from_numpy(components["op_F0"]), grid)
    now = FeatureMap(torch.from_numpy(components["op_F1"]), grid)
    initial, current = (torch.from_numpy(components[f"op_handles_{when}"]).double() for when in ("init", "cur"))
    templates = handle_features(start, initial)
    assert np.array_equal(track(now, templates, current, 3), components["op_track_dd_r3"])
    inner = [0, 3]
    for radius, key in ((5, "op_track_gd_r5_inner"), (3, "op_track_dn_r3_inner")):
        assert np.array_equal(track(now, templates[inner], current[inner], radius), components[key])


def test_patches(components):
    features = FeatureMap(torch.from_numpy(components["op_F0"]), components["op_F0"].shape[2:])
    shift = components["op_patch_shift"].astype(np.float64)
    centre = places((12 + shift[0], 13 + shift[1]))
    close(features.between(centre, 1)[0], components["op_patch_dd"][0], 1e-5)
    close(features.between(centre, 2)[0], components["op_patch_gd_r2"][0], 1e-5)


def test_points_and_mask_of_an_odd_image(components):
    grid = components["prep_mask_half"].shape
    points = points_to_grid(components["prep_points_xy"].tolist(), components["prep_mask"].shape, grid)
    assert np.array_equal(points, components["prep_points_rc"])
    latent = mask_to_latent(components["prep_mask"], grid, components["prep_mask_latent"].shape)
    assert np.array_equal(latent[0, 0].numpy(), components["prep_mask_latent"])


@pytest.mark.parametrize("expected", ["0.2", "0.6"])
@pytest.mark.parametrize("state", ["normal", "keep", "rollback"])
def test_freedrag_line_search(components, state, expected):
    """op_fd_search_*_par: loss at first, loss at the end, success threshold (mostly half of l), d_max, flag."""
    features = FeatureMap(torch.from_numpy(components["op_F1"]), components["op_F1"].shape[2:])
    template = torch.from_numpy(components["op_fd_samples"]).T.reshape(1, -1, 5, 5)
    first, end, threshold, reach, forward = components[f"op_fd_search_{state}_L{expected}_par"].tolist()
    settings = make_settings(
        {
            "method": "freedrag",
            "expected_loss": float(expected),
            "displacement": reach,
            "supervision_radius": 2,
        }
    ).resolve()
    # The threshold is an argument of its own there; only on which side of it the loss lies matters.
    end_loss = end if (end < threshold) == (end < 0.5 * float(expected)) else 0.4 * float(expected)
    centre, target = (torch.from_numpy(components[f"op_fd_{name}"]).double()[None] for name in ("centre", "target"))
    losses = torch.tensor([first]), torch.tensor([end_loss])
    found, went_on = search(features, template, centre, target, *losses, settings)
    assert np.allclose(found[0], components[f"op_fd_search_{state}_L{expected}"], atol=1e-4)
    assert bool(went_on) == bool(forward)


def test_freedrag_samples_and_template_weight(components):
    features = FeatureMap(torch.from_numpy(components["op_F0"]), components["op_F0"].shape[2:])
    patch = sample(features, torch.from_numpy(components["op_fd_centre"]).double()[None], 2)[0]
    close(patch.flatten(1).T, components["op_fd_samples"], 1e-4)
    weights = template_weight(torch.from_numpy(components["op_fd_lambda_loss"]), 1.0)
    close(weights, components["op_fd_lambda_l1"], 1e-6)
