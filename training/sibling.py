"""The demonstration model's sibling in SDXL's form: three stages, two text encoders, a pooled vector, sizes.

It exists so that a drag on SDXL can be looked at. Same scenes, same captions, same autoencoder; its training begins
from the demonstration model's weights wherever the two have a layer in common.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from networks import TEXT_WIDTH, Painter, new_text_encoder
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

SECOND_WIDTH, POOLED_WIDTH, SIZE_WIDTH = (
    64,
    64,
    32,
)  # of the second encoder, its pooled vector, each number of the sizes
WIDTHS = (64, 128, 128)
DEPTHS = (1, 1, 2)  # transformers of a stage; the first has none, whatever stands there
_STAGES = 1  # that the demonstration model's decoder has before those in common


class XLPainter(Painter):
    """As SDXL's pipeline feeds its U-Net: penultimate states of both encoders side by side, pooled vector, sizes."""

    pipeline = "StableDiffusionXLPipeline"

    def __init__(self, unet: UNet2DConditionModel, text: CLIPTextModel, text_2: CLIPTextModelWithProjection) -> None:
        super().__init__(unet, text)
        self.text_2 = text_2
        unread = f"encoder.layers.{text.config.num_hidden_layers - 1}.", "final_layer_norm."
        for name, parameter in text.named_parameters():
            parameter.requires_grad_(not any(part in name for part in unread))

    def forward(self, noisy: Tensor, timesteps: Tensor | int, rows: Tensor) -> Tensor:
        first, second = (encoder(rows, output_hidden_states=True) for encoder in (self.text, self.text_2))
        tokens = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
        height, width = (8.0 * side for side in noisy.shape[2:])
        sizes = noisy.new_tensor([[height, width, 0.0, 0.0, height, width]]).expand(len(rows), -1)
        told = {"text_embeds": second.text_embeds, "time_ids": sizes}
        return self.unet(noisy, timesteps, tokens, added_cond_kwargs=told).sample

    def parts(self) -> dict[str, nn.Module]:
        return {**super().parts(), "text_encoder_2": self.text_2}


def new_xl_painter(tokenizer: CLIPTokenizer) -> XLPainter:
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=DEPTHS,
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH + SECOND_WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=SIZE_WIDTH,
        projection_class_embeddings_input_dim=6 * SIZE_WIDTH + POOLED_WIDTH,
    )
    # One layer more than the demonstration model's: the last is not read.
    first = new_text_encoder(tokenizer, layers=4)
    config = CLIPTextConfig.from_dict(
        {**first.config.to_dict(), "hidden_size": SECOND_WIDTH, "intermediate_size": 2 * SECOND_WIDTH}
        | {"num_hidden_layers": 3, "projection_dim": POOLED_WIDTH, "hidden_act": "gelu"}
    )
    return XLPainter(unet, first, CLIPTextModelWithProjection(config))


@torch.no_grad()
def begin_from(painter: XLPainter, model: Path) -> float:
    """Take over the demonstration model's layers; what is new beside them begins without a say.

    model: its diffusers folder. Returns the share of the parameters that was taken over.
    """
    old = UNet2DConditionModel.from_pretrained(model / "unet", low_cpu_mem_usage=False).float().state_dict()
    taken = _take(painter.unet, {_place(name): value for name, value in old.items()})
    old = CLIPTextModel.from_pretrained(model / "text_encoder").float().state_dict()
    taken += _take(painter.text, old)
    for name, module in painter.unet.named_modules():
        # A second transformer of a stage adds what its three parts give, the sizes what their embedding does.
        if ".transformer_blocks.1." in name and name.endswith(("attn1.to_out.0", "attn2.to_out.0", "ff.net.2")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.zeros_(painter.unet.add_embedding.linear_2.weight)
    nn.init.zeros_(painter.unet.add_embedding.linear_2.bias)
    return taken / sum(parameter.numel() for parameter in painter.parameters())


def _place(name: str) -> str:
    """Where a layer of the four-stage U-Net stands in one of three: its decoder lacks the coarsest stage."""
    head, _, rest = name.partition(".")
    if head != "up_blocks":
        return name
    number, _, rest = rest.partition(".")
    return f"up_blocks.{int(number) - _STAGES}.{rest}"


def _take(module: nn.Module, old: dict[str, Tensor]) -> int:
    """Copies what fits, 1x1 convolutions into linear layers too; where only columns were added, those become 0."""
    taken = 0
    for name, goal in module.state_dict().items():
        value = old.get(name)
        if value is None:
            continue
        if value.numel() == goal.numel() and len(value) == len(goal):
            goal.copy_(value.view_as(goal))
        elif value.ndim == goal.ndim == 2 and len(value) == len(goal) and value.shape[1] < goal.shape[1]:
            goal.zero_()
            goal[:, : value.shape[1]] = value
        else:
            continue
        taken += value.numel()
    return taken
