"""The four published loops in their plainest form, written from their papers' and ALGORITHMS' formulas alone.

Nothing of `sdk` is used: the whole feature map is enlarged, windows are sliced out of it, and gradients come from
`backward` calls that accumulate where the published code lets them. It is slow and knows no borders, half precision or
settings; it exists so that a checkout proves its loops without anybody else's data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

SPACING = 20  # 50 inference steps of 1000


@dataclass
class Drag:
    """What the loops are given. handles, targets: (n, 2) whole (row, col) on the grid of `grid` (rows, cols);
    latent: (1, 4, h, w) at the first of `timesteps`; text: (1, 77, D), of which `content` rows are the prompt's;
    mask: (1, 1, h, w), 1 = may change, or None; numbers: the method's parameters under the published names."""

    unet: Any
    alphas: Tensor
    timesteps: list[int]
    latent: Tensor
    text: Tensor
    content: int
    handles: np.ndarray
    targets: np.ndarray
    grid: tuple[int, int]
    mask: Tensor | None
    numbers: dict[str, Any]
    optimise_text: bool


@dataclass
class Record:
    """What happened, a row per update: where the points were, the loss, and the tensors after it; and the end."""

    handles: list[np.ndarray] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    x: list[Tensor] = field(default_factory=list)
    text: list[Tensor] = field(default_factory=list)
    levels: list[int] = field(default_factory=list)
    searches: set[str] = field(default_factory=set)
    final: Tensor | None = None
    reached: bool = False

    def add(self, handles: np.ndarray, loss: Tensor, x: Tensor, text: Tensor, level: int = 0) -> None:
        self.handles.append(handles.copy())
        self.losses.append(float(loss.detach()))
        self.x.append(x.detach().clone())
        self.text.append(text.detach().clone())
        self.levels.append(level)


def look(drag: Drag, latent: Tensor, text: Tensor, timestep: int, mid: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The third decoder block's map enlarged to the grid, and the latent one DDIM step below."""
    seen = []
    removable = [drag.unet.up_blocks[2].register_forward_hook(lambda _m, _i, output: seen.append(output))]
    if mid is not None:
        removable.append(drag.unet.mid_block.register_forward_hook(lambda _m, _i, _output: mid))
    noise = drag.unet(latent, timestep, encoder_hidden_states=text).sample
    for hook in removable:
        hook.remove()
    here = float(drag.alphas[timestep])
    below = float(drag.alphas[max(timestep - SPACING, 0)])
    clean = (latent - math.sqrt(1 - here) * noise) / math.sqrt(here)
    previous = math.sqrt(below) * clean + math.sqrt(1 - below) * noise
    return interpolate(seen[0], drag.grid, mode="bilinear", align_corners=False), previous


def shifted(features: Tensor, rows: tuple[float, float], cols: tuple[float, float]) -> Tensor:
    """The patch [rows) x [cols) at a fractional place, from four slices at whole ones."""
    top, left = math.floor(rows[0]), math.floor(cols[0])
    height, width = round(rows[1] - rows[0]), round(cols[1] - cols[0])
    a, b = rows[0] - top, cols[0] - left

    def cut(down: int, right: int) -> Tensor:
        return features[:, :, top + down : top + down + height, left + right : left + right + width]

    upper = (1 - b) * cut(0, 0) + (b * cut(0, 1) if b else 0)
    lower = (1 - b) * cut(1, 0) + (b * cut(1, 1) if b else 0) if a else 0
    return (1 - a) * upper + a * lower


def around(features: Tensor, centre: np.ndarray, radius: int) -> Tensor:
    row, col = centre
    return shifted(features, (row - radius, row + radius + 1), (col - radius, col + radius + 1))


def nearest(features: Tensor, wanted: Tensor, handle: np.ndarray, radius: int) -> np.ndarray:
    """Where in the window around the handle the feature is most like the wanted one, by L1."""
    distance = (around(features, handle, radius)[0] - wanted[:, None, None]).abs().sum(0)
    row, col = divmod(int(distance.argmin()), 2 * radius + 1)
    return handle + np.array([row, col]) - radius


def far(drag: Drag, handles: np.ndarray) -> list[int]:
    return [i for i in range(len(handles)) if np.linalg.norm(handles[i] - drag.targets[i]) >= 2]


def outside(drag: Drag, previous: Tensor, start: Tensor) -> Tensor:
    if drag.mask is None:
        return torch.zeros(())
    return ((previous - start) * (1 - drag.mask)).abs()


def regulariser(drag: Drag, text: Tensor) -> Tensor:
    rows = drag.content
    return drag.numbers["text_lam"] * (drag.text[:, :rows] - text[:, :rows]).abs().sum()


def leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().clone().requires_grad_()


def supervised(drag: Drag, bottleneck: bool) -> Record:
    """DragDiffusion, or DragNoise with `bottleneck`, and their DragText forms (ALGORITHMS 2, 4, 6.2, 6.3)."""
    numbers, record, timestep = drag.numbers, Record(), drag.timesteps[0]
    start = drag.latent
    if bottleneck:
        seen = []
        hook = drag.unet.mid_block.register_forward_hook(lambda _m, _i, output: seen.append(output))
        with torch.no_grad():
            drag.unet(drag.latent, timestep, encoder_hidden_states=drag.text)
        hook.remove()
        start = seen[0]
    x, text = leaf(start), leaf(drag.text)
    x_adam = torch.optim.Adam([x], lr=numbers["lr"])
    text_adam = torch.optim.Adam([text], lr=numbers["text_lr"])

    def evaluate() -> tuple[Tensor, Tensor]:
        words = text.clone() if drag.optimise_text else drag.text
        if bottleneck:
            return look(drag, drag.latent, words, timestep, mid=x.clone())
        return look(drag, x.clone(), words, timestep)

    with torch.no_grad():
        first, first_previous = evaluate()
    wanted = [first[0, :, int(row), int(col)] for row, col in drag.handles]
    handles = drag.handles.copy()

    def motion(features: Tensor, active: list[int]) -> Tensor:
        total, radius = torch.zeros(()), numbers["r_m"]
        for i in active:
            direction = drag.targets[i] - handles[i]
            direction = direction / np.linalg.norm(direction)
            patch = around(features, handles[i], radius).detach()
            ahead = around(features, handles[i] + direction, radius)
            total = total + (2 * radius + 1) ** 2 * (patch - ahead).abs().mean()
        return total

    for iteration in range(numbers["steps"]):
        features, previous = evaluate()
        if iteration:
            handles = np.stack([nearest(features, w, handle, numbers["r_p"]) for w, handle in zip(wanted, handles)])
        active = far(drag, handles)
        if not active:
            record.reached = True
            break
        loss = motion(features, active) + numbers["lam"] * outside(drag, previous, first_previous).sum()
        loss.backward(retain_graph=drag.optimise_text)
        x_adam.step()
        x_adam.zero_grad()
        if drag.optimise_text:
            text_loss = motion(features.clone(), active)
            for _ in active:
                text_loss = text_loss + regulariser(drag, text)
            text_loss.backward()
            text_adam.step()
            text_adam.zero_grad()
        record.add(handles, loss, x, text)
    record.final = x.detach()
    return record


def freedrag(drag: Drag, second_backward: bool) -> Record:
    """FreeDrag (ALGORITHMS 3), and DragText's repository's (6.4), in which a step without success goes back twice."""
    numbers, record, timestep = drag.numbers, Record(), drag.timesteps[0]
    expected, reach, radius = numbers["l_expected"], numbers["d_max"], numbers["win_r"]
    count, small = len(drag.handles), 0.5 * numbers["l_expected"]
    x, text = leaf(drag.latent), leaf(drag.text)
    x_adam = torch.optim.Adam([x], lr=numbers["lr"])
    text_adam = torch.optim.Adam([text], lr=numbers["text_lr"])

    def evaluate() -> tuple[Tensor, Tensor]:
        return look(drag, x.clone(), text.clone() if drag.optimise_text else drag.text, timestep)

    with torch.no_grad():
        latest, first_previous = evaluate()
    current = [handle.copy() for handle in drag.handles]
    templates = [around(latest, centre, radius) for centre in current]
    done, loss_first, loss_end = [False] * count, [0.0] * count, [0.0] * count
    updates = 0

    def difficulty(i: int, place: np.ndarray) -> float:
        return float((around(latest, place, radius) - templates[i]).abs().mean())

    def search(i: int) -> tuple[np.ndarray, bool]:
        here, goal = current[i], drag.targets[i]
        share = min(reach / (np.linalg.norm(goal - here) + 1e-8), 1)
        if loss_end[i] < small:
            record.searches.add("normal")
            places = [here + share * k / 10 * (goal - here) for k in range(1, 11)]
            return min(places, key=lambda place: abs(difficulty(i, place) - expected)), True
        if loss_end[i] < loss_first[i]:
            record.searches.add("keep")
            return here, True
        record.searches.add("rollback")
        behind = here - share * (goal - here)
        share = min(2 * reach / (np.linalg.norm(goal - behind) + 1e-8), 1)
        places = [behind + share * k / 10 * (goal - behind) for k in range(1, 11)]
        return min(places, key=lambda place: difficulty(i, place)), False

    while not all(done) and updates < numbers["steps"]:
        advancing = False
        for i in range(count):
            if not done[i]:
                current[i], forward = search(i)
                advancing = advancing or forward
        for inner in range(5):
            if updates == numbers["steps"]:
                break
            features, previous = evaluate()
            losses = [(around(features, q, radius) - t).abs().mean() for q, t in zip(current, templates)]
            loss = sum(losses) + numbers["lam"] * outside(drag, previous, first_previous).mean()
            loss.backward(retain_graph=True)
            x_adam.step()
            x_adam.zero_grad()
            updates += 1
            values = [float(value.detach()) for value in losses]
            if inner == 0:
                loss_first = values
            success = max(values) < small
            if success and drag.optimise_text and advancing:
                text_loss = sum((around(features, q, radius) - t).abs().mean() for q, t in zip(current, templates))
                (text_loss + regulariser(drag, text)).backward()
                text_adam.step()
                text_adam.zero_grad()
            elif not success and second_backward:
                loss.backward()
            record.add(np.stack(current), loss, x, text)
            if success:
                break
        with torch.no_grad():
            latest, _ = evaluate()
        loss_end = [difficulty(i, q) for i, q in enumerate(current)]
        for i, q in enumerate(current):
            done[i] = bool(np.linalg.norm(q - drag.targets[i]) < 2) and loss_end[i] <= small
            share = 1 / (1 + math.exp(math.log(9) / (0.6 * expected) * (loss_end[i] - 0.2 * expected)))
            share = 1.0 if done[i] else share
            templates[i] = share * around(latest, q, radius) + (1 - share) * templates[i]
    record.final, record.reached = x.detach(), all(done)
    return record


def gooddrag(drag: Drag) -> Record:
    """GoodDrag and its DragText form: dragging and denoising in turn (ALGORITHMS 5, 6.5)."""
    numbers, record = drag.numbers, Record()
    radius, levels = numbers["r1"], numbers["t2"]
    with torch.no_grad():
        originals, path = [], [drag.latent]
        for timestep in drag.timesteps[: levels + 1]:
            features, previous = look(drag, path[-1], drag.text, timestep)
            originals.append(features)
            path.append(previous)
    handles, latent, text = drag.handles.copy(), drag.latent, drag.text
    unmoved, finished = 0, False

    for level, timestep in enumerate(drag.timesteps[:levels]):
        x, text = leaf(latent), leaf(drag.text)
        x_adam = torch.optim.Adam([x], lr=numbers["lr"])
        text_adam = torch.optim.Adam([text], lr=numbers["text_lr"])
        original = originals[level]
        wanted = [original[0, :, int(row), int(col)] for row, col in drag.handles]
        tracked = pulled = 0

        def track(features: Tensor, handles: np.ndarray, wanted: list[Tensor] = wanted) -> np.ndarray:
            return np.stack([nearest(features, w, handle, numbers["r2"]) for w, handle in zip(wanted, handles)])

        while tracked < numbers["B"]:
            x_adam.zero_grad()
            text_adam.zero_grad()
            features, previous = look(drag, x.clone(), text.clone() if drag.optimise_text else drag.text, timestep)
            if tracked == pulled == 0:
                handles = track(features, handles)
            active = far(drag, handles)
            if not active or unmoved == numbers["patience"]:
                finished, record.reached = True, not active
                break

            def motion(
                features: Tensor,
                handles: np.ndarray = handles,
                active: list[int] = active,
                original: Tensor = original,
            ) -> Tensor:
                total = torch.zeros(())
                for i in active:
                    way = drag.targets[i] - handles[i]
                    ahead = handles[i] + way / np.linalg.norm(way) * min(numbers["beta"], np.linalg.norm(way))
                    patch = around(original, drag.handles[i], radius)
                    total = total + (2 * radius) ** 2 * (patch - around(features, ahead, radius)).abs().mean()
                return total

            loss = motion(features) + numbers["lam"] * outside(drag, previous, path[level + 1]).sum()
            loss.backward(retain_graph=drag.optimise_text)
            x_adam.step()
            if drag.optimise_text:
                (motion(features.clone()) + regulariser(drag, text)).backward()
                text_adam.step()
            record.add(handles, loss, x, text, level)
            pulled += 1
            if pulled == numbers["K"]:
                tracked, pulled = tracked + 1, 0
                found = track(features, handles)
                unmoved = unmoved + 1 if np.array_equal(found, handles) else 0
                handles = found
        with torch.no_grad():
            _, latent = look(drag, x, text, timestep)
        if finished:
            break
    record.final = latent
    return record


def inverted(unet: Any, alphas: Tensor, timesteps: list[int], latent: Tensor, text: Tensor) -> Tensor:
    """DDIM inversion, the noise taken at the level that is gone to (ALGORITHMS 1.4)."""
    with torch.no_grad():
        for timestep in reversed(timesteps):
            noise = unet(latent, timestep, encoder_hidden_states=text).sample
            here, there = float(alphas[max(timestep - SPACING, 0)]), float(alphas[timestep])
            clean = (latent - math.sqrt(1 - here) * noise) / math.sqrt(here)
            latent = math.sqrt(there) * clean + math.sqrt(1 - there) * noise
    return latent
