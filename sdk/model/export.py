"""Write a model in the original (LDM) key layout, which WebUIs read."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .keys import clip_names, unet_names, vae_names


def to_original_layout(
    unet: Mapping[str, Tensor], vae: Mapping[str, Tensor], text: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """State dicts in diffusers' layout -> one in the layout of Stable Diffusion 1.x checkpoints.

    unet: of a UNet2DConditionModel; vae: of an AutoencoderKL; text: of a CLIPTextModel. The tensors are
    shared with the input, not copied; the autoencoder's attention weights (c, c) become (c, c, 1, 1).
    """
    original = {new: unet[old] for old, new in unet_names(unet).items()}
    for old, new in vae_names(vae).items():
        convolution = ".mid.attn_1." in new and vae[old].ndim == 2
        original[new] = vae[old][:, :, None, None] if convolution else vae[old]
    original |= {new: text[old] for old, new in clip_names(text).items() if not old.endswith("position_ids")}
    return original
