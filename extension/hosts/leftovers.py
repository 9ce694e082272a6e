"""What other extensions leave behind on a host's model: taken off for an edit and put back, or named in a refusal.

ControlNet replaces the `forward` of the U-Net, of its blocks and of its transformers in the instances, and leaves them
there after a generation, finished or not; regional prompters, HyperTile and tiled autoencoders do the same. Their state
belongs to a generation that is over, so an edit must not go through them; the next generation finds them again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ...sdk.errors import ModelError

CALLS = ("forward", "_forward")
# What the blocks of a U-Net of the original layout are made of, in all hosts.
LAYERS = {"ResBlock", "SpatialTransformer", "AttentionBlock", "Downsample", "Upsample", "Conv2d"}
SWAPPED = "DynamicSwap_"  # Forge's prefix for the classes of layers that it keeps off the device


@contextmanager
def without_leftovers(*parts: nn.Module) -> Iterator[None]:
    """Every module inside `parts` computes with its class's own `forward`, and nobody else's forward hooks run.

    Pre-hooks stay: with --medvram they move the modules.
    """
    with ExitStack() as stack:
        for part in parts:
            for module in part.modules():
                stack.enter_context(without_attributes(module, CALLS))
                if module._forward_hooks:
                    stack.callback(setattr, module, "_forward_hooks", module._forward_hooks)
                    module._forward_hooks = OrderedDict()
        yield


@contextmanager
def without_attributes(owner: Any, names: tuple[str, ...]) -> Iterator[None]:
    """What the instance has under these names is hidden, so that its class's show."""
    attributes = vars(owner)
    hidden = {name: attributes.pop(name) for name in names if name in attributes}
    try:
        yield
    finally:
        attributes.update(hidden)


def check_layers(unet: Any) -> None:
    """Raise ModelError where another extension has put layers of its own between the U-Net's (AnimateDiff does).

    They are part of the structure: taking them out would be a guess at what was there before.
    """
    blocks = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    found = {type(layer).__name__.removeprefix(SWAPPED) for block in blocks for layer in block}
    foreign = sorted(found - LAYERS)
    if foreign:
        raise ModelError(
            f"Another extension has left layers of its own in the U-Net ({', '.join(foreign)}); restart the WebUI."
        )
