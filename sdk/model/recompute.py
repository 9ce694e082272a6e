"""Gradient checkpointing: a U-Net's blocks keep their inputs alone and compute the rest again in the backward pass.

The same numbers, a third more work, a fraction of the memory (Chen et al. 2016, arXiv 1604.06174). Our own and not
diffusers', since it must hold in hosts' U-Nets, in evaluation mode, and with the hooks that an edit puts into blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .base import DiffusionModel
from .taps import own_forwards

# What is computed again as one, by name: diffusers', and the original code's and Forge's.
RESIDUAL = ("ResnetBlock2D", "ResBlock")
TRANSFORMER = ("BasicTransformerBlock",)


def units(network: nn.Module) -> list[nn.Module]:
    """The blocks of a U-Net that are computed again."""
    return [module for module in network.modules() if type(module).__name__ in (*RESIDUAL, *TRANSFORMER)]


@contextmanager
def recomputed(model: DiffusionModel) -> Iterator[None]:
    """Within the block the U-Net's blocks are computed again in a backward pass instead of being kept.

    The backward pass must come while the hooks inside the blocks (the identity LoRA) are still there. The
    instances get a `forward` of their own for the duration.
    """

    def surroundings() -> tuple[AbstractContextManager, AbstractContextManager]:
        return nullcontext(), model.computing()

    def again(_block: nn.Module, forward: Any) -> Any:
        def call(first: Tensor, *args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return forward(first, *args, **kwargs)
            # Blocks of some hosts add to what they are given in place, and it is needed again as it was. The first time
            # the block gets the thing itself: one operation more in the graph would sum gradients in another order.
            kept, given = first.detach().clone().requires_grad_(first.requires_grad), [first]
            del first

            def compute() -> Any:
                return forward(given.pop() if given else kept.clone(), *args, **kwargs)

            # Nothing in evaluation is random.
            return checkpoint(compute, use_reentrant=False, preserve_rng_state=False, context_fn=surroundings)

        return call

    with own_forwards(units(model.unet), again):
        yield
