"""Making a host's modules fit for gradients, and undoing it: everything here is a context manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...sdk.model.taps import hooks

LOG_VARIANCES = (-30.0, 20.0)  # the posterior's, as all autoencoders of Stable Diffusion clamp them


@contextmanager
def gradients_allowed() -> Iterator[None]:
    """Leave any inference mode and no_grad of the calling thread."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


@contextmanager
def own_randomness() -> Iterator[None]:
    """Draw the same random numbers every time, and leave the host's where they are. Of the CPU, where hosts draw."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@contextmanager
def posterior_read(last: nn.Module) -> Iterator[list[Tensor]]:
    """For hosts that sample from an autoencoder's posterior and hand on nothing else. last: the layer before it.

    Yields a list that takes what `last` puts out, mean and log variance side by side, once per call; meanwhile what the
    host samples is as good as the mean, and its random numbers stay where they are.
    """
    moments: list[Tensor] = []

    def certain(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        moments.append(output)
        mean, log_variance = output.chunk(2, dim=1)
        return torch.cat([mean, torch.full_like(log_variance, LOG_VARIANCES[0])], dim=1)

    with hooks() as handles, own_randomness():
        handles.append(last.register_forward_hook(certain))
        yield moments


def spread(log_variance: Tensor) -> Tensor:
    """Standard deviation of a posterior, float32."""
    return (0.5 * log_variance.float().clamp(*LOG_VARIANCES)).exp()


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No parameter wants gradients. Hosts hand them out wanting some, which would cost memory for every weight."""
    wanting = [parameter for parameter in module.parameters() if parameter.requires_grad]
    try:
        for parameter in wanting:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in wanting:
            parameter.requires_grad_(True)


def normal_tensors(module: nn.Module) -> int:
    """Turn weights that were made in inference mode into normal ones on the same memory; returns how many.

    autograd cannot use the former. Not undone: nobody can tell the difference but autograd, and whatever the host does
    in its inference mode turns them back. Parameter subclasses (quantised weights) make normal tensors by themselves
    and would lose their attributes.
    """
    known: dict[int, nn.Parameter] = {}  # a tensor may be registered twice
    changed = 0
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is None or type(parameter) is not nn.Parameter or not parameter.is_inference():
                continue
            if id(parameter) not in known:
                known[id(parameter)] = nn.Parameter(_same_memory(parameter), requires_grad=parameter.requires_grad)
                changed += 1
            part._parameters[name] = known[id(parameter)]
        for name, buffer in part._buffers.items():
            if buffer is not None and buffer.is_inference():
                part._buffers[name] = buffer.clone()
                changed += 1
    return changed


def _same_memory(tensor: Tensor) -> Tensor:
    alias = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return alias.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.size(), tensor.stride())


@contextmanager
def residuals_kept(unet: nn.Module) -> Iterator[None]:
    """Let transformer blocks that add in place (`x += n`) be differentiated: their norms save a copy of their input."""

    def copy(_module: nn.Module, inputs: tuple) -> tuple:
        return (inputs[0].clone(), *inputs[1:])

    with hooks() as handles:
        for name, module in unet.named_modules():
            if name.rsplit(".", 1)[-1] in ("norm1", "norm2", "norm3"):
                handles.append(module.register_forward_pre_hook(copy))
        yield


@contextmanager
def swapped(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another value for an attribute, for the duration."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
