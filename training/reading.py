"""The scene's own truth as a second teacher: what lies where, read off the U-Net's inner features while it trains.

Aligning inner features with what a picture means lets a diffusion model learn in fewer steps (REPA, Yu et al., 2025,
arXiv 2410.06940). There a pretrained encoder says what it means; here the scene's description does.
"""

from __future__ import annotations

import numpy as np
from diffusers import UNet2DConditionModel
from dragtext.sdk.evaluation.scenes import COLOURS, FIGURES, SHAPES, TEXTURES, Scene, object_mask
from torch import Tensor, nn

_SHAPES, _COLOURS, _TEXTURES = [*SHAPES, *FIGURES], [*COLOURS], ["", *TEXTURES]
CLASSES = (1 + len(_SHAPES), 1 + len(_COLOURS), 1 + len(_TEXTURES))  # the first of each is the background


def scene_labels(scene: Scene) -> np.ndarray:
    """(3, size / 8, size / 8) uint8: per latent element the shape, colour and texture of what covers most of it."""
    side = scene.size // 8
    labels = np.zeros((3, side, side), np.uint8)
    for item in scene.objects:
        covered = object_mask(item, scene.size).reshape(side, 8, side, 8).mean((1, 3)) > 0.5
        names = (_SHAPES.index(item.shape), _COLOURS.index(item.colour), _TEXTURES.index(item.texture))
        labels[:, covered] = 1 + np.array(names)[:, None]
    return labels


class Reading(nn.Module):
    """One linear reader on each of the U-Net's two middle up blocks; they are thrown away after training."""

    BLOCKS = (1, 2)

    def __init__(self, unet: UNet2DConditionModel) -> None:
        super().__init__()
        widths = unet.config["block_out_channels"][::-1]
        self.readers = nn.ModuleList(nn.Conv2d(widths[block], sum(CLASSES), 1) for block in self.BLOCKS)
        self._features: dict[int, Tensor] = {}
        for block in self.BLOCKS:
            unet.up_blocks[block].register_forward_hook(
                lambda _module, _inputs, output, block=block: self._features.__setitem__(block, output)
            )

    def loss(self, labels: Tensor, weight: Tensor) -> Tensor:
        """Cross entropy of the last forward pass, summed over readers and kinds of label.

        labels: (n, 3, h, w) at the latent's size. weight: (n,), what each picture counts.
        """
        total = weight.new_zeros(())
        for reader, block in zip(self.readers, self.BLOCKS):
            read = reader(self._features.pop(block))
            stride = labels.shape[-1] // read.shape[-1]
            for kind, logits in enumerate(read.split(CLASSES, dim=1)):
                truth = labels[:, kind, ::stride, ::stride].long()
                wrong = nn.functional.cross_entropy(logits, truth, reduction="none")
                total = total + (wrong.mean((1, 2)) * weight).mean()
        return total
