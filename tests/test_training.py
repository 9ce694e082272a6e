"""What the embedded model's training rests on; the training itself is judged by its results (`benchmarks/`)."""

import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from dragtext.sdk.evaluation.scenes import (
    COLOURS,
    FIGURES,
    FIRST_EVALUATION_SEED,
    HELD_OUT,
    SHAPES,
    TEXTURES,
    object_mask,
)
from torch import nn

TRAINING = Path(__file__).parent.parent / "training"


@pytest.fixture
def training(monkeypatch):
    monkeypatch.syspath_prepend(str(TRAINING))
    import train_embedded

    yield train_embedded
    for name in ("train_embedded", "lessons", "muon", "norms", "progress", "reading"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_updates_are_nearly_orthogonal(training, shape):
    from muon import orthogonal

    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(shape) * 1e-4))
    assert singular.max() < 1.3
    assert singular.mean() > 0.7


def test_a_step_has_the_gradients_direction_and_not_its_size(training):
    from muon import Muon

    moved = []
    for size in (1.0, 1e3):
        torch.manual_seed(1)
        weight = nn.Parameter(torch.zeros(8, 4, 3, 3))
        weight.grad = size * torch.randn(8, 4, 3, 3)
        Muon([weight], lr=0.01).step()
        assert (weight * weight.grad).sum() < 0
        # Like AdamW's: 0.2 of the learning rate per element, for a square matrix; here 8 rows share 36 columns.
        assert weight.square().mean().sqrt().item() == pytest.approx(0.2 * 0.01, rel=0.3)
        moved.append(weight.detach())
    assert torch.allclose(*moved, atol=1e-5)


def test_every_parameter_has_one_optimiser(training):
    network = nn.ModuleDict({"unet": training.new_unet()})
    inner, rest = (optimiser.param_groups[0]["params"] for optimiser in training.make_optimisers(network, 1e-3, 1e-3))
    ids = [id(p) for p in (*inner, *rest)]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert all(p.ndim >= 2 for p in inner)
    assert any(p is network["unet"].conv_in.weight for p in rest)


def test_norms_start_out_neutral(training):
    """Each passes its input on, less the added constants and the group's mean and mean difference."""
    torch.manual_seed(0)
    network = training.new_autoencoder()
    training.neutralise(network, 30.0)
    seen = []
    for module in network.modules():
        if isinstance(module, nn.GroupNorm):
            module.register_forward_hook(lambda norm, given, out: seen.append((norm, given[0].detach(), out.detach())))
    with torch.no_grad():
        network(torch.rand(1, 3, 64, 64))
    assert len(seen) > 20
    for norm, given, out in seen:
        signs = torch.tensor([1.0, -1.0]).repeat(given.shape[1] // 2)
        shape = (1, -1, *[1] * (given.ndim - 2))
        bare = given - 30.0 * signs.view(shape)
        grouped = bare.reshape(1, norm.num_groups, given.shape[1] // norm.num_groups, -1)
        sign = torch.tensor([1.0, -1.0]).repeat(grouped.shape[2] // 2)[:, None]
        along = [sign * (sign * grouped).mean((2, 3), keepdim=True), grouped.mean((2, 3), keepdim=True)]
        expected = (grouped - along[0] - along[1]).view_as(bare)
        assert torch.allclose(out, expected, atol=0.15 * float(expected.std()))


def test_standardised_latents_decode_to_the_same_picture(training):
    torch.manual_seed(0)
    network = training.new_autoencoder().eval()
    image = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        before = network.encode(image).latent_dist
        picture = network.decode(before.mean).sample
        mean, std = before.mean.mean((0, 2, 3)), before.mean.std((0, 2, 3))
        training.standardise(network, mean, std)
        after = network.encode(image).latent_dist
        assert torch.allclose(after.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
        assert torch.allclose(after.mean.std((0, 2, 3)), torch.ones(4), atol=1e-3)
        assert torch.allclose(after.std * std[:, None, None], before.std, rtol=1e-3)
        assert torch.allclose(network.decode(after.mean).sample, picture, atol=1e-4)


def test_a_stopped_run_goes_on_where_it_was(training, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    def begin() -> training.Run:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 2))
        return training.Run(tmp_path / "run.pt", network, training.make_optimisers(network, 0.1, 0.1), 10, keep=0.9)

    run = begin()
    while run.step < 30:
        assert run.goes_on()
        clock[0] += 5.0
        run.learn(run.network(torch.ones(1, 3)).square().sum(), 1.0)
    again = begin()
    assert 12 <= again.step <= 30  # a checkpoint a minute
    assert again.share == pytest.approx(again.step * 5 / 600, abs=0.01)
    clock[0] += 1000
    assert not again.goes_on()
    finished = begin()
    assert finished.share == 1.0
    assert torch.equal(finished.network[0].weight, again.network[0].weight)
    assert torch.equal(finished.average[0].bias, again.average[0].bias)


def test_close_scenes_are_training_scenes_of_their_own(training):
    from lessons import CLOSE_FROM

    fits = 0
    for number in range(60):
        scene = training.close_scene(number)
        assert scene == training.close_scene(number)
        (item,) = scene.objects
        assert (item.colour, item.shape) not in HELD_OUT
        assert CLOSE_FROM <= scene.seed < FIRST_EVALUATION_SEED
        assert training.render(scene).shape == (128, 128, 3)
        mask = object_mask(item, 128)
        border = mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()
        if item.reach <= 58:
            fits += 1
            assert not border
    assert fits > 40


def test_time_steps_reach_both_ends_and_favour_the_middle(training):
    drawn = training.draw_timesteps(20_000, torch.Generator().manual_seed(0))
    tenths = torch.histc(drawn.float(), 10, 0, 1000) / len(drawn)
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    # Half of them are even: a twentieth in every tenth. The other half has its most near 0.57.
    assert tenths.min() > 0.045
    assert tenths[4:8].sum() > 0.5


def test_labels_say_what_lies_where(training):
    from reading import CLASSES, scene_labels

    for number in range(20):
        scene = training.training_scene(number)
        labels = scene_labels(scene)
        assert labels.shape == (3, 32, 32)
        assert all(labels[kind].min() >= 0 and labels[kind].max() < count for kind, count in enumerate(CLASSES))
        # The topmost object is seen whole.
        top = scene.objects[-1]
        covered = object_mask(top, 256).reshape(32, 8, 32, 8).mean((1, 3)) > 0.5
        names = ([*SHAPES, *FIGURES].index(top.shape), [*COLOURS].index(top.colour), ["", *TEXTURES].index(top.texture))
        assert covered.any()
        assert (labels[:, covered] == 1 + np.array(names)[:, None]).all()
        free = ~np.any([object_mask(o, 256) for o in scene.objects], axis=0).reshape(32, 8, 32, 8).any((1, 3))
        assert not labels[:, free].any()


@pytest.mark.parametrize("side", [16, 32])
def test_readers_teach_the_network_they_read(training, side):
    from reading import CLASSES, Reading

    torch.manual_seed(0)
    unet = training.new_unet()
    reading = Reading(unet)
    labels = torch.randint(0, 7, (2, 3, side, side))

    def loss(weight):
        unet(torch.randn(2, 4, side, side), torch.tensor([10, 700]), torch.randn(2, 77, training.TEXT_WIDTH))
        return reading.loss(labels, weight)

    loss(torch.ones(2)).backward()
    assert unet.conv_in.weight.grad.abs().sum() > 0
    assert unet.up_blocks[3].resnets[0].conv1.weight.grad is None  # behind what is read
    with torch.no_grad():
        for reader in reading.readers:
            reader.weight.zero_()
            reader.bias.zero_()
    # Readers that know nothing: the entropy of each kind, for both of them, times the pictures' mean weight.
    know_nothing = 2 * sum(math.log(count) for count in CLASSES)
    assert loss(torch.tensor([1.0, 0.0])).item() == pytest.approx(know_nothing / 2, rel=1e-4)
