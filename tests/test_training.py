"""What the embedded model's training rests on; the training itself is judged by its results (`benchmarks/`)."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import CLIPTokenizer

TRAINING = Path(__file__).parent.parent / "training"
MODULES = (
    "autoencoder", "lessons", "muon", "networks", "norms", "progress", "sibling", "train_embedded", "unet", "widen",
    "words",
)  # fmt: skip


@pytest.fixture
def training(monkeypatch):
    """The scripts' modules by name."""
    monkeypatch.syspath_prepend(str(TRAINING))
    import train_embedded

    yield train_embedded
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """The tokenizer's folder, which takes a while to make."""
    sys.path.insert(0, str(TRAINING))
    try:
        from words import build_tokenizer

        folder = tmp_path_factory.mktemp("words")
        build_tokenizer(folder)
    finally:
        sys.path.remove(str(TRAINING))
    return folder


@pytest.mark.parametrize("shape", [(12, 40), (40, 12), (16, 16)])
def test_updates_are_nearly_orthogonal(training, shape):
    from muon import orthogonal

    torch.manual_seed(0)
    matrices = torch.randn(2, *shape) * 1e-4
    singular = torch.linalg.svdvals(orthogonal(matrices))
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


def test_every_parameter_has_one_optimiser(training, words):
    from muon import make_optimisers

    network = training.Painter(training.new_unet(), training.new_text_encoder(CLIPTokenizer.from_pretrained(words)))
    inner, rest = (optimiser.param_groups[0]["params"] for optimiser in make_optimisers(network, 1e-3, 1e-3))
    ids = [id(p) for p in (*inner, *rest)]
    assert sorted(ids) == sorted(id(p) for p in network.parameters())
    assert all(p.ndim >= 2 for p in inner)
    assert any(p is network.unet.conv_in.weight for p in rest)


def test_norms_start_out_neutral(training):
    """Each passes its input on, less the added constants and the group's mean and mean difference."""
    torch.manual_seed(0)
    network = training.new_autoencoder()
    from norms import neutralise

    neutralise(network, 30.0)
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


def test_the_posterior_is_as_wide_as_the_noise_that_the_decoder_knows(training):
    """Identity LoRAs and a WebUI's img2img draw from it; training reads its mean alone."""
    from networks import SPREAD, settle

    torch.manual_seed(0)
    network = training.new_autoencoder().eval()
    settle(network)
    with torch.no_grad():
        posterior = network.encode(torch.rand(2, 3, 64, 64)).latent_dist
    assert torch.allclose(posterior.std, torch.full_like(posterior.std, SPREAD))


def test_a_stopped_run_goes_on_where_it_was(training, tmp_path, monkeypatch):
    from muon import make_optimisers
    from progress import Length, Run

    clock = [0.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])

    def begin() -> Run:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 2))
        optimisers = make_optimisers(network, 0.1, 0.1)
        return Run(tmp_path / "run.pt", "line", network, optimisers, Length(600), keep=0.9)

    run = begin()
    while run.step < 30:
        assert run.goes_on()
        clock[0] += 5.0
        loss = run.network(torch.ones(1, 3)).square().sum()
        run.learn(loss, loss)
    again = begin()
    assert 12 <= again.step <= 30  # a checkpoint a minute
    assert again.share == pytest.approx(again.step * 5 / 600, abs=0.01)
    # Muon's momentum, too, went on.
    assert any(state["average"].abs().sum() > 0 for state in again.optimisers[0].state.values())
    clock[0] += 1000
    assert not again.goes_on()
    finished = begin()
    assert finished.share == 1.0
    assert torch.equal(finished.network[0].weight, again.network[0].weight)
    assert torch.equal(finished.average[0].bias, again.average[0].bias)


def test_a_run_by_steps_ends_with_them(training):
    from muon import make_optimisers
    from progress import Length, Run

    network = nn.Sequential(nn.Linear(3, 2))
    run = Run(None, "line", network, make_optimisers(network, 0.1, 0.1), Length(1e9, steps=4), keep=0.9)
    while run.goes_on():
        loss = network(torch.ones(1, 3)).square().sum()
        run.learn(loss, loss)
    assert run.step == 4


def test_the_words_are_single_tokens_and_rows_are_the_tokenizers(training, words):
    from dragtext.sdk.evaluation.scenes import make_scene
    from transformers import CLIPTokenizer
    from words import read_vocabulary, token_row

    tokenizer, ids = CLIPTokenizer.from_pretrained(words), read_vocabulary(words)
    for seed in range(40):
        caption = make_scene(seed).describe(pose=True, places=True)
        expected = tokenizer(caption, padding="max_length", max_length=77).input_ids
        assert token_row(caption, ids).tolist() == expected


def test_the_models_own_words_are_those_that_are_built_now(words):
    from dragtext.sdk.model.load import EMBEDDED

    for name in ("vocab.json", "merges.txt"):
        assert (EMBEDDED / "tokenizer" / name).read_text() == (words / name).read_text()


def test_lessons_leave_out_what_is_held_out(training, words):
    from lessons import read_lesson
    from words import read_vocabulary

    ids = read_vocabulary(words)
    every = read_lesson("close", 120, ids, torch.device("cpu"))
    some = read_lesson("close", 120, ids, torch.device("cpu"), training.held_out(["red cat", "blue boat"]))
    from dragtext.sdk.evaluation.scenes import make_close_scene

    pairs = [(toy.colour, toy.figure) for n in range(120) for toy in make_close_scene(n).toys]
    dropped = sum(pair in (("red", "cat"), ("blue", "boat")) for pair in pairs)
    assert dropped
    assert len(every) == 120
    assert len(some) == 120 - dropped
    image, cover = every.pictures(slice(0, 2))
    assert image.shape == (2, 3, 128, 128)
    assert cover.any()


def test_close_scenes_are_none_of_the_whole_or_unseen_ones(training):
    from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_close_scene

    for number in (0, 59_999):
        scene = make_close_scene(number)
        assert 80_000 < scene.seed < FIRST_UNSEEN_SEED
        assert (scene.size, len(scene.toys)) == (128, 1)


def test_time_steps_favour_the_middle(training):
    from unet import draw_timesteps

    torch.manual_seed(0)
    drawn = draw_timesteps(20_000, torch.device("cpu")).numpy()
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    middle = np.mean((drawn > 400) & (drawn < 800))
    assert 0.5 < middle < 0.7


def test_half_norms_are_gone_afterwards(training):
    from unet import half_norms

    norm, x = nn.GroupNorm(2, 4), torch.randn(1, 4, 3, 3)
    before, plain = nn.GroupNorm.forward, norm(x)
    with half_norms():
        assert norm(x.bfloat16()).dtype == torch.bfloat16
        assert torch.allclose(norm(x), plain, atol=1e-6)
    assert nn.GroupNorm.forward is before


def test_a_few_steps_of_everything(training, tmp_path, monkeypatch, capsys):
    """The whole script on a handful of scenes: it ends with a model that loads."""
    monkeypatch.setattr(training, "UNSEEN", 2)
    monkeypatch.setattr("autoencoder._UNSEEN", 2)
    asked = ["--work", tmp_path / "work", "--export", tmp_path / "model", "--device", "cpu", "--precision", "float32"]
    asked += ["--whole", 6, "--close", 6, "--vae-steps", 2, "--vae-batch", 1, "--unet-steps", 2, "--batch", 2]
    asked += ["--widths", 64, 64, 64, 64]
    monkeypatch.setattr(sys, "argv", ["train_embedded.py", *map(str, asked)])
    training.main()
    report = json.loads((tmp_path / "work" / "unet.json").read_text())
    assert sum(report["seen"].values()) >= 4
    from dragtext.sdk.model.load import load_model

    model = load_model(tmp_path / "model")
    assert model.prediction_type == "v_prediction"
    assert model.encode_text("a small red cat").content_length == 5


def test_widening_keeps_the_function_but_for_the_norms(training, monkeypatch):
    monkeypatch.setattr(nn.GroupNorm, "forward", lambda _norm, x: x)
    monkeypatch.setattr(nn.LayerNorm, "forward", lambda _norm, x: x)
    from networks import new_unet
    from widen import widened

    torch.manual_seed(0)
    old = new_unet((64, 96, 128, 192)).eval()
    new = widened(old).eval()
    x, text = torch.randn(1, 4, 16, 16), torch.randn(1, 77, 128)
    with torch.no_grad():
        before, after = old(x, 500, text).sample, new(x, 500, text).sample
    assert new.config.block_out_channels == (64, 128, 128, 192)
    # Attention weighs by products of queries and keys, in which channels that exist twice count twice.
    assert (before - after).std() < 0.01 * before.std()


def test_the_sibling_is_fed_in_training_as_it_is_when_it_drags(training, words, tmp_path):
    """In SDXL's form, begun from the demonstration model; loaded, it predicts what training saw it predict."""
    from dragtext.sdk.model.load import EMBEDDED, load_model
    from networks import export
    from sibling import begin_from, new_xl_painter
    from words import read_vocabulary, token_row

    torch.manual_seed(0)
    painter = new_xl_painter(CLIPTokenizer.from_pretrained(words)).eval()
    share = begin_from(painter, EMBEDDED)
    demonstration = load_model()
    assert 0.6 < share < 0.7
    assert torch.equal(painter.unet.conv_in.weight, demonstration.unet.conv_in.weight)
    late = "resnets.1.conv1.weight"
    assert torch.equal(
        painter.unet.up_blocks[2].get_parameter(late), demonstration.unet.up_blocks[3].get_parameter(late)
    )
    with torch.no_grad():
        for parameter in painter.unet.add_embedding.parameters():
            parameter.normal_(0, 0.05)  # the vector and the sizes are to have a say
    export(tmp_path / "model", painter, demonstration.vae, words)
    model = load_model(tmp_path / "model")
    latent, caption = torch.randn(1, 4, 32, 32), "a small red cat"
    row = torch.tensor(token_row(caption, read_vocabulary(words)))[None].long()
    with torch.no_grad():
        found = model.predict(latent, 400, model.encode_text(caption, (256, 256)))
        seen = painter(latent, 400, row)
    assert (found - seen).abs().max() < 0.01 * seen.std()  # the file is in half precision
    assert model.prediction_type == "v_prediction"
    assert len(model.layout.stages) == 3
