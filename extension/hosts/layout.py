"""Where the interventions go in a U-Net of the original layout, which A1111's ldm and Forge's backend share."""

from __future__ import annotations

from torch import nn

from ...sdk.errors import ModelError
from ...sdk.model.base import DecoderStage, UNetLayout

STAGES = (3, 4)  # of SDXL's decoder, and of the other families'


def original_layout(unet: nn.Module) -> UNetLayout:
    """Places in `input_blocks`, `middle_block` and `output_blocks`, by structure: the blocks of each resolution.

    Raises ModelError for a decoder that has neither three stages, as SDXL's, nor four.
    """
    blocks = list(unet.output_blocks)  # type: ignore[arg-type]
    stages: list[list[nn.Module]] = [[]]
    for block in blocks:
        stages[-1].append(block)
        # A stage ends with its upsampler.
        if type(block[-1]).__name__ == "Upsample":
            stages.append([])
    if len(stages) not in STAGES or not stages[-1]:
        raise ModelError(
            "This model's U-Net has another decoder than Stable Diffusion 1.x, 2.x and SDXL; choose such a checkpoint."
        )
    encoder = tuple(unet.input_blocks)  # type: ignore[arg-type]
    places = tuple(DecoderStage(stage[-1], tuple(stage)) for stage in stages)
    return UNetLayout(encoder, unet.middle_block, places)  # type: ignore[arg-type]
