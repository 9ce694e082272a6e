"""Every update of every method against a plain implementation of the published loops, on a tiny random model.

`tests/parity` does the same with trajectories of the published programs, where somebody has a folder of them; this runs
everywhere.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from dragtext.sdk.drag import loop_of
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.model.base import Conditioning
from dragtext.sdk.model.diffusers import DiffusersModel
from dragtext.sdk.model.schedule import TimeGrid, invert
from dragtext.sdk.picture.frame import Frame
from dragtext.sdk.request import make_drags
from dragtext.sdk.settings import make_settings

from .parity import plain
from .tiny import tiny_model

SIZE = (96, 128)  # rows and columns differ, so that no axis is taken for the other
TWO = [((40, 48), (72, 60)), ((90, 30), (70, 56))]
ONE = TWO[:1]

# Under the published names, as `plain` reads them; our names follow from the table below.
NUMBERS = {
    "dragdiffusion": {"lr": 0.02, "lam": 0.1, "steps": 5, "r_m": 1, "r_p": 3},
    "dragnoise": {"lr": 0.02, "lam": 0.2, "steps": 5, "r_m": 1, "r_p": 3},
    "freedrag": {"lr": 0.1, "lam": 10.0, "steps": 18, "win_r": 2, "d_max": 5.0, "l_expected": 0.1},
    "gooddrag": {"lr": 0.02, "lam": 0.1, "r1": 2, "r2": 4, "beta": 4.0, "t2": 2, "B": 2, "K": 2, "patience": 5},
}
OURS = {
    "lam": "mask_weight", "r_m": "supervision_radius", "win_r": "supervision_radius", "r1": "supervision_radius",
    "r_p": "tracking_radius", "r2": "tracking_radius", "d_max": "displacement", "beta": "displacement",
    "l_expected": "expected_loss", "t2": "drag_levels", "B": "tracks_per_level", "K": "steps_per_track",
    "text_lam": "text_weight",
}  # fmt: skip
CASES = [
    (method, gradients, text, masked, drags)
    for method in NUMBERS
    for gradients, text, masked, drags in (
        ("official", True, True, TWO),
        ("official", False, False, ONE),
        ("official", True, False, ONE),
    )
] + [("freedrag", "repository", False, True, TWO)]


STRENGTH = 0.3


class Start(NamedTuple):
    """Where every case begins."""

    model: DiffusersModel
    frame: Frame
    words: Conditioning
    times: TimeGrid
    latent: torch.Tensor


@pytest.fixture(scope="module")
def start() -> Start:
    """A picture and a prompt on a tiny model, inverted by ours and, to the same latent, by the plain loop."""
    model = tiny_model(seed=3)
    frame = Frame.of(*SIZE, model.size_multiple)
    image = np.random.default_rng(1).integers(0, 255, (*SIZE, 3), dtype=np.uint8)
    words = model.encode_text("a cat the red dog")
    times = TimeGrid.of(STRENGTH, make_settings({}).resolve().inference_steps)
    encoded = model.encode_image(frame.image_to_model(image)).mean
    *_, latent = invert(model, times, encoded, words)
    alone = plain.inverted(model.unet, model.alphas_cumprod, list(times.timesteps), encoded, words.tokens)
    assert (latent - alone).abs().max() < 1e-5
    return Start(model, frame, words, times, latent)


def problem_of(start: Start, method, numbers, gradients, text, masked, drags) -> DragProblem:
    settings = make_settings(
        {OURS.get(name, name): value for name, value in numbers.items()}
        | {"method": method, "gradients": gradients, "text": text, "strength": STRENGTH, "lora_steps": 0}
    ).resolve()
    handles, targets = start.frame.to_grid(make_drags(drags))
    painted = np.zeros(SIZE, np.uint8)
    painted[16:80, 16:112] = 1
    return DragProblem(
        model=start.model,
        times=start.times,
        latent=start.latent,
        text=start.words,
        handles=handles,
        targets=targets,
        grid=start.frame.grid,
        mask=start.frame.mask_to_model(painted).to(start.latent) if masked else None,
        settings=settings,
    )


def plainly(problem: DragProblem, numbers: dict, second_backward: bool) -> plain.Record:
    drag = plain.Drag(
        unet=problem.model.unet,
        alphas=problem.model.alphas_cumprod,
        timesteps=list(problem.times.timesteps),
        latent=problem.latent,
        text=problem.text.tokens,
        content=problem.text.content_length,
        handles=problem.handles,
        targets=problem.targets,
        grid=problem.grid,
        mask=problem.mask,
        numbers=numbers,
        optimise_text=problem.settings.text,
    )
    method = problem.settings.method
    if method == "gooddrag":
        return plain.gooddrag(drag)
    if method == "freedrag":
        return plain.freedrag(drag, second_backward)
    return plain.supervised(drag, bottleneck=method == "dragnoise")


def close(ours: torch.Tensor, theirs: torch.Tensor, step: float, what: str) -> None:
    """Half within a thousandth of a step, nearly all within a thirtieth: Adam divides by the gradient's size, so that
    rounding shows in elements that have hardly any."""
    difference = (ours - theirs).abs().flatten()
    assert difference.quantile(0.5) < 1e-3 * step, what
    assert difference.quantile(0.99) < 0.03 * step, what
    assert difference.max() < step, what


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}{'-text' * c[2]}{'-mask' * c[3]}-{len(c[4])}")
def test_every_update_is_the_published_one(start, case):
    method, gradients, text, masked, drags = case
    numbers = NUMBERS[method] | {"text_lr": 0.004, "text_lam": 0.1}
    problem = problem_of(start, method, numbers, gradients, text, masked, drags)
    published = plainly(problem, numbers, second_backward=text or gradients == "repository")
    steps = list(loop_of(method)(problem))
    updates = [step for step in steps if step.updated]
    assert len(updates) == len(published.losses) > 4
    assert np.allclose([step.loss for step in updates], published.losses, rtol=2e-4)
    assert np.allclose([step.handles for step in updates], published.handles, atol=1e-6)
    assert [step.level for step in updates] == published.levels
    for index, step in enumerate(updates):
        x = step.bottleneck if method == "dragnoise" else step.latent
        close(x, published.x[index], numbers["lr"], f"update {index}")
        if text:
            close(step.text, published.text[index], numbers["text_lr"], f"text of update {index}")
    last = steps[-1]
    close(last.bottleneck if method == "dragnoise" else last.latent, published.final, numbers["lr"], "the end")
    if method == "freedrag":  # every branch of its line search, over the cases
        assert published.searches >= ({"normal", "keep", "rollback"} if text and drags is ONE else {"normal"})
    elif method != "dragnoise" and drags is ONE:  # whose few updates change no feature by enough
        assert len({tuple(step.handles.flatten()) for step in updates}) > 1, "the points never moved"
    if text:
        assert (published.text[-1] - problem.text.tokens).abs().max() > 0
