"""A start from which group normalisation hardly normalises.

Few channels per group make a normalised image lose what its groups have in common: flat colours, faint shading. So each
channel starts with a large constant, + and - in turn: a group's statistics are then those of the constants, and with
gain and bias that undo them the normalisation passes its input on nearly unchanged, less the group's mean. What the
layers learn on crops then also holds on whole images. The architecture stays Stable Diffusion's.
"""

from __future__ import annotations

import torch
from diffusers.models.downsampling import Downsample2D
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn


def _signs(channels: int) -> torch.Tensor:
    return torch.tensor([1.0, -1.0]).repeat(channels // 2)


@torch.no_grad()
def neutralise(network: nn.Module, constant: float) -> None:
    """Change a fresh diffusers U-Net or autoencoder in place. constant: what the activations are small against."""

    def mark(conv: nn.Conv2d) -> None:
        conv.bias.copy_(constant * _signs(conv.out_channels))

    def pass_on(conv: nn.Conv2d) -> None:
        """Its input carries the constants: let no mixture of them through, then add them anew."""
        signs = _signs(conv.in_channels).view(1, -1, 1, 1)
        conv.weight -= (conv.weight * signs).sum(1, keepdim=True) * signs / conv.in_channels
        conv.weight *= 3**0.5  # torch's initial weights would let the variance shrink threefold
        mark(conv)

    for name, module in network.named_modules():
        if isinstance(module, nn.GroupNorm):
            module.weight.fill_(constant)
            module.bias.copy_(-constant * _signs(module.num_channels))
        elif isinstance(module, ResnetBlock2D):
            mark(module.conv1)
            module.conv2.bias.zero_()
            if module.conv_shortcut is not None:
                pass_on(module.conv_shortcut)
        elif isinstance(module, (Downsample2D, Upsample2D)):
            pass_on(module.conv)
        elif name.split(".")[-1] == "conv_in":
            mark(module)
