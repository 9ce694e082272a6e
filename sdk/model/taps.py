"""Everything done to a U-Net: forward hooks inside context managers, gone afterwards whatever happens.

The model's parameters, buffers and hooks are after each block exactly what they were before it (DESIGN, decision 1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .base import Conditioning, DecoderStage, DiffusionModel


class _FeatureReached(Exception):
    """Ends a forward pass at the block whose output was wanted."""


@dataclass
class FeatureTap:
    """Holds the last feature map that passed, (n, channels, rows, cols) in the U-Net's dtype."""

    value: Tensor | None = None

    def take(self) -> Tensor:
        if self.value is None:
            raise RuntimeError("the U-Net's forward did not reach the tapped block")
        value, self.value = self.value, None
        return value


@contextmanager
def hooks() -> Iterator[list]:
    """A list to put hook handles in; every one of them is removed at the end."""
    handles: list = []
    try:
        yield handles
    finally:
        for handle in reversed(handles):
            handle.remove()


@contextmanager
def tap_features(model: DiffusionModel, block: int, stop: bool) -> Iterator[FeatureTap]:
    """Read the output of `UNetLayout.stage(block)`, or of the mid block for 0; with `stop`, end the forward there."""
    tap = FeatureTap()
    outlet = mid_block(model) if block == 0 else model.layout.stage(block).outlet

    def read(_module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        tap.value = output
        if stop:
            raise _FeatureReached

    with hooks() as handles:
        handles.append(outlet.register_forward_hook(read))
        yield tap


def features_only(
    model: DiffusionModel, latent: Tensor, timestep: int | Tensor, text: Conditioning, block: int
) -> Tensor:
    """Feature map of a decoder block; nothing behind that block is computed."""
    with tap_features(model, block, stop=True) as tap:
        with suppress(_FeatureReached):
            model.predict(latent, timestep, text)
        return tap.take()


def features_and_prediction(
    model: DiffusionModel, latent: Tensor, timestep: int | Tensor, text: Conditioning, block: int
) -> tuple[Tensor, Tensor]:
    """Feature map of a decoder block, and the U-Net's output."""
    with tap_features(model, block, stop=False) as tap:
        prediction = model.predict(latent, timestep, text)
        return tap.take(), prediction


def mid_block(model: DiffusionModel) -> nn.Module:
    """The U-Net's mid block. Raises ModelError for compressed models that have none (BK-SDM-Tiny and the like)."""
    if model.layout.mid is None:
        raise ModelError(
            f"DragNoise edits the U-Net's middle block, and {model.name} has none; use another method or model."
        )
    return model.layout.mid


@contextmanager
def replace_mid(model: DiffusionModel, bottleneck: Tensor, share: Tensor | None = None) -> Iterator[None]:
    """Put `bottleneck` in the place of the mid block's output.

    bottleneck: (1 or n, C, h, w). share: (n, 1, 1, 1), how far each item goes from its own output (0) to the
    bottleneck (1), beyond 1 further; None is all the way.
    """

    def replace(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        wanted = bottleneck.to(output.dtype).expand_as(output)
        return wanted if share is None else torch.lerp(output, wanted, share.to(output))

    with hooks() as handles:
        handles.append(mid_block(model).register_forward_hook(replace))
        yield


@contextmanager
def remember(modules: Sequence[nn.Module], outputs: dict[nn.Module, Any]) -> Iterator[None]:
    """Modules whose output is in `outputs` return that; the others compute once and put theirs there.

    For the part of a U-Net whose inputs stay the same. A hook cannot keep a module from computing, so for the duration
    the instance gets a `forward` of its own in front of its class's; forward hooks still run.
    """

    def once(module: nn.Module, forward: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if module not in outputs:
                outputs[module] = forward(*args, **kwargs)
            return outputs[module]

        return call

    with own_forwards(modules, once):
        yield


@contextmanager
def own_forwards(modules: Sequence[nn.Module], make: Callable[[nn.Module, Any], Any]) -> Iterator[None]:
    """Within the block each of the instances has the `forward` that `make` gives for it and the one that it had."""
    before = {module: module.__dict__.get("forward") for module in modules}
    try:
        for module in modules:
            module.forward = make(module, module.forward)
        yield
    finally:
        for module, forward in before.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = forward


def self_attentions(stage: DecoderStage) -> list[Any]:
    """The self-attention layers of a stage. diffusers, ldm and Forge all call them attn1."""
    return [
        child
        for module in stage.modules
        for name, child in module.named_modules()
        if name.rsplit(".", 1)[-1] == "attn1"
    ]


@contextmanager
def share_attention(model: DiffusionModel, stages: int) -> Iterator[None]:
    """Mutual self-attention in the last `stages` decoder stages (MasaCtrl; ALGORITHMS 1.7).

    For a batch of [reference, edited] every item attends to the reference's keys and values. Only the projections'
    outputs are exchanged, so any attention backend keeps working.
    """

    def from_reference(_module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        return output[:1].expand_as(output)

    with hooks() as handles:
        for stage in model.layout.stages[-stages:]:
            for attention in self_attentions(stage):
                for name in ("to_k", "to_v"):
                    handles.append(attention.get_submodule(name).register_forward_hook(from_reference))
        yield


def projections(unet: nn.Module) -> dict[str, Any]:
    """All query, key, value and output projections of the attention layers, by their path in the U-Net.

    Told by their place and their `in_features` and `out_features`: Forge's linear layers are no `nn.Linear`.
    """
    found: dict[str, Any] = {}
    for name, module in unet.named_modules():
        if name.rsplit(".", 1)[-1] not in ("attn1", "attn2"):
            continue
        for part in ("to_q", "to_k", "to_v", "to_out.0"):
            layer = module.get_submodule(part)
            if hasattr(layer, "in_features") and hasattr(layer, "out_features"):
                found[f"{name}.{part}"] = layer
    return found


@contextmanager
def low_rank_adapter(unet: nn.Module, weights: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Add `up(down(x))` to each named projection (LoRA, Hu et al. 2021, scale 1).

    weights: path -> (down (rank, in), up (out, rank)); they may require gradients; those that do not must stay as they
        are within the block.
    """

    def adapter(down: Tensor, up: Tensor):
        fixed: dict[torch.dtype, tuple[Tensor, Tensor]] = {}  # cast once, and not at every call

        def pair(kind: torch.dtype) -> tuple[Tensor, Tensor]:
            if down.requires_grad or up.requires_grad:
                return down.to(kind), up.to(kind)
            if kind not in fixed:
                fixed[kind] = down.to(kind), up.to(kind)
            return fixed[kind]

        def add(_module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
            x = inputs[0]
            narrow, wide = pair(x.dtype)
            low = torch.nn.functional.linear(x, narrow)
            return output + torch.nn.functional.linear(low, wide).to(output.dtype)

        return add

    with hooks() as handles:
        for path, (down, up) in weights.items():
            handles.append(unet.get_submodule(path).register_forward_hook(adapter(down, up)))
        yield
