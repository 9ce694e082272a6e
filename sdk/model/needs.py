"""What the networks of a model need of a device's memory, from their structure and before anything runs.

Numbers of values that a U-Net's blocks keep for a backward pass, one rule for each kind of block. Every value lies at a
latent's cell or at a cell of a coarser grid, so all grows with the picture's area; attention is taken to be fused, as
torch's is. `tests/test_needs.py` holds the rules against a count on the meta device (`sdk/evaluation/allocations.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn

from .base import DiffusionModel
from .recompute import RESIDUAL, TRANSFORMER
from .taps import projections

log = logging.getLogger("dragtext")

WORDS = 77
# Of an autoencoder's values at its widest, per channel of its first stage and pixel.
ENCODING, DECODING = 5.1, 6.0
AUTOENCODER = 128  # channels of Stable Diffusion's


@dataclass(frozen=True)
class Unit:
    """A block of the U-Net, or what lies between blocks. Numbers of values for each cell of the latent and each item.

    enters: its input; kept: what its graph keeps; tuned: what an adapter that is trained keeps beside that; works: what
    it holds at once while it computes; words: what it keeps of the text, for each item alone; whole: whether it can be
    computed again.
    """

    enters: float = 0.0
    kept: float = 0.0
    tuned: float = 0.0
    works: float = 0.0
    words: float = 0.0
    whole: bool = False


@dataclass(frozen=True)
class Outline:
    """A model as far as its memory goes. Bytes, but for what `Unit` counts.

    parts: units of encoder and mid block, of each decoder stage, and behind them. skips: values that the encoder hands
    to the decoder, for each cell. size: bytes of a value. companions: of the text encoders and of the autoencoder.
    width: channels of the autoencoder's first stage, precise: bytes of its values. adapter: values of an adapter of
    rank 1. beside: what the backend keeps beside the weights.
    """

    unet: int
    companions: tuple[int, int]
    parts: tuple[tuple[Unit, ...], ...]
    skips: float
    size: int
    width: int
    precise: int
    adapter: int
    beside: int = 0

    def units(self, stages: int | None = None) -> tuple[Unit, ...]:
        """Up to the first `stages` of the decoder; None for all of the U-Net."""
        parts = self.parts if stages is None else self.parts[: stages + 1]
        return tuple(unit for part in parts for unit in part)

    def forward(self, cells: int, items: int = 1) -> float:
        """Bytes of a pass without gradients."""
        return self.size * cells * items * (self.skips + max(unit.works for unit in self.units()))

    def graph(
        self, cells: int, items: int = 1, *, stages: int | None = None, tuned: bool = False, again: bool = False
    ) -> float:
        """Bytes of a forward and backward pass. tuned: of an adapter; again: blocks are computed again."""
        kept = most = words = 0.0
        # Backwards the blocks let go of what they keep one after the other, so the fullest moment is one block's.
        for unit in self.units(stages):
            own = unit.kept + unit.tuned * tuned
            if again and unit.whole:
                kept += unit.enters
                most = max(most, kept + own + unit.works)
            else:
                kept += own
                words += unit.words
                most = max(most, kept + unit.works / 2)
        return self.size * items * (cells * most + words)


_outlines: WeakKeyDictionary[nn.Module, tuple[tuple, Outline | None]] = WeakKeyDictionary()


def outline(model: DiffusionModel) -> Outline | None:
    """The outline of a model, whatever its backend; looked at once for every U-Net, device and precision.

    None where its blocks are of an unknown kind: then nothing is known, and an edit goes on as if there were room.
    """
    facts = model.device, model.dtype, len(model.companions)
    known = _outlines.get(model.unet)
    if known is None or known[0] != facts:
        try:
            found = _outline(model)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            log.info("What this model needs of memory is not known: %r", error)
            found = None
        known = facts, found
        _outlines[model.unet] = known
    return known[1]


def _outline(model: DiffusionModel) -> Outline:
    unet: Any = model.unet
    walk = _Walk()
    parts = [
        [*walk.through(*model.layout.encoder), *walk.through(*([] if model.layout.mid is None else [model.layout.mid]))]
    ]
    skips = walk.skips
    parts += [list(walk.through(*stage.modules)) for stage in model.layout.stages]
    head = [
        module for name in ("conv_norm_out", "conv_out", "out") if (module := getattr(unet, name, None)) is not None
    ]
    parts.append(list(walk.through(*head)))
    layers = projections(unet).values()
    vae: Any = next((part for part in model.companions if hasattr(part, "decoder")), None)
    others = [part for part in model.companions if part is not vae]
    first = next(vae.parameters()) if vae is not None else None
    size = torch.empty((), dtype=model.dtype, device="cpu").element_size()
    return Outline(
        unet=_bytes(unet),
        companions=(sum(map(_bytes, others)), 0 if vae is None else _bytes(vae)),
        parts=tuple(map(tuple, parts)),
        skips=skips,
        size=size,
        width=_width(vae),
        precise=size if first is None else first.element_size(),
        adapter=sum(layer.in_features + layer.out_features for layer in layers),
        beside=model.kept_beside(),
    )


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.parameters())


def _width(vae: Any) -> int:
    """Channels of an autoencoder's first stage: what its last convolution reads."""
    return AUTOENCODER if vae is None else int(vae.decoder.conv_out.weight.shape[1])


class _Walk:
    """Through the modules in the order in which they compute. area: of a cell of the grid in cells of the latent."""

    def __init__(self) -> None:
        self.area, self.skips = 1.0, 0.0

    def through(self, *modules: nn.Module) -> Iterator[Unit]:
        for module in modules:
            yield from self._of(module)

    def _of(self, module: Any) -> Iterator[Unit]:
        kind = type(module).__name__
        if kind in RESIDUAL:
            yield self._residual(module)
        elif kind in TRANSFORMER:
            yield self._transformer(module)
        elif kind.startswith("Upsample"):
            self.area /= 4
            yield from self.through(*module.children())
        elif _channels(module) is not None:
            # A norm keeps its input, as a convolution does, be its weights frozen or not.
            channels = _channels(module) or 0
            yield Unit(kept=channels / self.area, works=2 * channels / self.area)
        else:
            yield from self.through(*module.children())
            if kind.startswith("Downsample"):
                self.area *= 4
                self.skips += max((c for m in module.modules() if (c := _channels(m))), default=0) / self.area

    def _residual(self, module: Any) -> Unit:
        # Each of the two norms, its activation and its convolution keep what they are given.
        first, second = (m.num_channels for m in module.modules() if hasattr(m, "num_groups"))
        self.skips += second / self.area
        return Unit(
            enters=first / self.area,
            kept=3 * (first + second) / self.area,
            works=(3 * first + second) / self.area,
            whole=True,
        )

    def _transformer(self, module: Any) -> Unit:
        width = module.attn1.to_q.in_features
        inner = sum(attention.to_q.out_features for attention in (module.attn1, module.attn2))
        words = sum(getattr(module.attn2, name).out_features for name in ("to_k", "to_v"))
        gated = module.ff.net[0].proj.out_features
        # Three norms; queries, keys, values and output of the first attention, queries and output of the second; both
        # halves of the gated layer and the activated one.
        return Unit(
            enters=width / self.area,
            kept=(3 * width + 3 * inner + 1.5 * gated) / self.area,
            tuned=2 * width / self.area,
            works=(2.25 * gated) / self.area,
            words=words * WORDS,
            whole=True,
        )


def _channels(module: Any) -> int | None:
    """What a layer that stands outside of blocks is given, for norms of groups and convolutions."""
    if hasattr(module, "num_groups"):
        return int(module.num_channels)
    weight = module._parameters.get("weight")
    return int(weight.shape[1]) if isinstance(weight, torch.Tensor) and weight.dim() == 4 else None
