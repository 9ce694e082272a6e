"""The drag loops do not wait for the device more than once an iteration, and reading one late changes nothing."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import LOOPS, gradients, loop_of, telling
from dragtext.sdk.drag.gradients import Gradients
from dragtext.sdk.drag.variable import Variable
from dragtext.sdk.errors import ModelError
from dragtext.sdk.model import identity
from dragtext.sdk.model.transfer import Late, Reading
from dragtext.sdk.settings import make_settings

from .problems import FIVE, LONGER, make_problem
from .tiny import tiny_model
from .waiting import watching


def delay(monkeypatch, yes):
    monkeypatch.setattr(telling, "runs_ahead", lambda _device: yes)


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize("mode", ["joint", "official"])
@pytest.mark.parametrize(("points", "mask"), [({}, None), (FIVE, "rectangle")], ids=["one point", "five in a mask"])
@pytest.mark.parametrize("method", LOOPS)
def test_one_wait_an_iteration(model, method, points, mask, mode, late, monkeypatch):
    delay(monkeypatch, late)
    problem = make_problem(model, method, mask=mask, gradients=mode, **points, **LONGER[method])
    loop = loop_of(method)(problem)
    assert next(loop).updated  # what is prepared before the loop may wait
    counts = []
    with watching(monkeypatch) as watch:
        for step in loop:
            counts.append(watch.reads)
            watch.reads = 0
            last = step
    assert not last.updated
    assert len(counts) >= 5
    assert set(counts[:-1]) == {1}
    assert counts[-1] <= 3  # where it ended, once more where the handles are, and whether all is finite


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: x.cpu(),
        lambda x: x.to("cpu"),
        lambda x: x.to("cpu", torch.float64),
        lambda x: x.to(device="cpu", non_blocking=True),
        lambda x: x.numpy(),
        lambda x: np.asarray(x),
        lambda x: bool(x.sum() > 0),
        lambda x: float(x.sum()),
        lambda x: int(x.sum()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.masked_select(x > 0),
        lambda x: x.unique(),
        lambda x: torch.equal(x, x),
        lambda x: torch.allclose(x, x),
        lambda x: torch.tensor([1.0]) + x,
        lambda x: torch.as_tensor([1.0]) + x,
        lambda x: torch.from_numpy(np.ones(2)) + x,
    ],
)
def test_the_watch_sees_every_wait(wait, monkeypatch):
    with watching(monkeypatch), pytest.raises(AssertionError, match="waits for the device"):
        wait(torch.ones(2))


def test_what_stays_on_the_device_is_no_wait(monkeypatch):
    with watching(monkeypatch) as watch:
        x = torch.ones(2)
        x.to(x.device, torch.float64).to(torch.float32).add_(1).clone().detach().sum()
    assert watch.reads == 0


def same(one, other):
    for field in fields(one):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs), field.name
        else:
            assert np.array_equal(mine, theirs) if mine is not None else theirs is None, field.name


def poisoned_after(model, calls, monkeypatch):
    real, done = type(model).predict, []

    def predict(self, latent, timestep, text):
        done.append(1)
        return real(self, latent * (float("nan") if len(done) > calls else 1.0), timestep, text)

    monkeypatch.setattr(type(model), "predict", predict)


@pytest.mark.parametrize("method", ["dragdiffusion", "dragnoise", "gooddrag"])
@pytest.mark.parametrize(
    "ending", ["steps", "reached", "at once", "stuck", "last step", "diverged"], ids=lambda name: name.replace(" ", "-")
)
def test_reading_late_gives_the_same_steps(model, method, ending, monkeypatch):
    options = {
        "reached": {"targets": ((10, 14),), "lr": 0.2, "reach_distance": 1.9, "steps": 30, "drag_levels": 7},
        "stuck": {"lr": 1e-9, "patience": 1},
        "last step": {"steps": 3},
    }.get(ending, {})
    problem = make_problem(model, method, mask=None, **{**LONGER[method], **options})
    if ending == "at once":
        problem = replace(problem, start=problem.latent + 0.01, start_handles=problem.targets)
    runs = []
    for late in (False, True):
        with monkeypatch.context() as patch:
            delay(patch, late)
            if ending == "diverged":
                poisoned_after(model, 6, patch)
            runs.append(list(loop_of(method)(problem)))
    assert len(runs[0]) == len(runs[1])
    for one, other in zip(*runs):
        same(one, other)
    if ending == "diverged":
        assert runs[0][-1].diverged


def test_a_late_queue_hands_out_the_one_before():
    late, at_once = Late(True), Late(False)
    assert [list(late.put(n)) for n in range(3)] == [[], [0], [1]]
    assert list(late.rest()) == [2]
    assert list(late.rest()) == []
    assert [list(at_once.put(n)) for n in range(2)] == [[0], [1]]
    assert list(at_once.rest()) == []


def test_a_reading_keeps_names_shapes_and_values():
    facts = Reading(one=torch.tensor([[1.5, 2.0]]), two=torch.tensor(3), three=torch.tensor(True)).take()
    assert facts["one"].tolist() == [[1.5, 2.0]]
    assert (facts["two"], facts["three"]) == (3, 1)
    assert facts["two"].shape == ()


# The optimiser, and steps left out ------------------------------------------------------------------------------------


def test_the_optimiser_is_torchs_adam():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(4, 50, generator=generator)
    ours, masked = Variable(start, 0.02), Variable(start, 0.02)
    theirs = start.clone().requires_grad_()
    adam = torch.optim.Adam([theirs], lr=0.02)
    for _ in range(30):
        gradient = torch.randn(start.shape, generator=generator) * 1e-3
        ours.step(gradient)
        masked.step(gradient, torch.tensor(True))
        theirs.grad = gradient
        adam.step()
        assert torch.equal(ours.leaf, theirs)
    assert torch.allclose(masked.leaf, theirs, atol=1e-4)


def test_a_step_that_is_left_out_leaves_no_trace():
    generator = torch.Generator().manual_seed(0)
    one, other = (Variable(torch.ones(5), 0.1) for _ in range(2))
    for number in range(6):
        gradient = torch.randn(5, generator=generator)
        one.step(gradient, torch.tensor(True))
        if number % 2:
            other.step(torch.full((5,), float("inf")), torch.tensor(False))
        other.step(gradient, torch.tensor(True))
        assert torch.equal(one.leaf, other.leaf)


def test_an_overflow_halves_the_scale_until_there_is_none(model, monkeypatch):
    monkeypatch.setattr(gradients, "loss_scale", lambda _model: 1024.0)
    found = Gradients(make_problem(model, "dragdiffusion", text=False))
    x = torch.ones(3, requires_grad=True)
    usable = []
    for _ in range(4):
        (gradient, _, fine) = found((x * 1e36).sum(), None, x, x, torch.tensor(1))
        usable.append(bool(fine))
    assert usable == [False, False, True, True]  # 1e36 times 1024, 512 and 256; float32 ends at 3.4e38
    assert gradient.tolist() == pytest.approx([1e36] * 3)


def test_what_overflows_without_a_scale_is_shown_and_not_left_out(model, monkeypatch):
    monkeypatch.setattr(gradients, "loss_scale", lambda _model: 2.0)
    found = Gradients(make_problem(model, "dragdiffusion", text=False))
    x = torch.ones(3, requires_grad=True)
    usable = [bool(found((x * float("inf")).sum(), None, x, x, torch.tensor(1))[2]) for _ in range(2)]
    assert usable == [False, True]


@pytest.mark.parametrize("mode", ["joint", "official"])
@pytest.mark.parametrize("method", LOOPS)
def test_a_scaled_loss_gives_the_same_drag(model, method, mode, monkeypatch):
    """The path of half precision, in full precision: gradients are scaled and steps may be left out, but none is."""
    problem = make_problem(model, method, gradients=mode)
    plain = list(loop_of(method)(problem))
    monkeypatch.setattr(gradients, "loss_scale", lambda _model: 1024.0)
    scaled = list(loop_of(method)(problem))
    assert len(plain) == len(scaled)
    assert scaled[0].loss == plain[0].loss
    changes = (scaled[0].latent - plain[0].latent).abs()
    assert changes.median() < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", LOOPS)
def test_on_a_gpu_nothing_else_waits(method):
    model = tiny_model()
    model.device = torch.device("cuda")
    for part in (model.unet, model.text_encoder, model.vae):
        part.to("cuda")
    problem = make_problem(model, method, mask="rectangle", **FIVE, **LONGER[method])
    problem = replace(problem, latent=problem.latent.cuda(), mask=problem.mask.cuda())
    loop = loop_of(method)(problem)
    next(loop)
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")  # raises at every wait that torch knows; waiting for an event is none
    try:
        assert all(step.latent.is_cuda for step in loop)
    finally:
        torch.cuda.set_sync_debug_mode(mode)


# The identity LoRA ----------------------------------------------------------------------------------------------------


def test_fitting_waits_once_a_step(model, monkeypatch):
    settings = make_settings({"lora_steps": 4, "lora_batch": 2}).resolve()
    latents, text = model.encode_image(torch.zeros(1, 3, 64, 64)), model.encode_text("a cat")
    real = torch.optim.AdamW.step
    with watching(monkeypatch) as watch:

        def step(self):
            with watch.allowed(0):  # its counts are tensors of the CPU, whatever the device
                return real(self)

        monkeypatch.setattr(torch.optim.AdamW, "step", step)
        for number, _ in enumerate(identity.fit(model, latents, text, settings), start=1):
            assert watch.reads == number


def test_a_loss_read_late_is_an_error_all_the_same(monkeypatch):
    broken = tiny_model()
    broken.unet.up_blocks[2].resnets[0].conv1.weight.data.fill_(float("nan"))
    settings = make_settings({"lora_steps": 2, "lora_batch": 1}).resolve()
    latents, text = broken.encode_image(torch.zeros(1, 3, 64, 64)), broken.encode_text("a cat")
    monkeypatch.setattr(identity, "runs_ahead", lambda _device: True)
    with pytest.raises(ModelError, match="identity LoRA"):
        list(identity.fit(broken, latents, text, settings))
