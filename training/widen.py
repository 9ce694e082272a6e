"""Widen a trained U-Net's second stage from 96 to 128 channels, and train on.

    python training/widen.py MODEL --export sdk/model/embedded --minutes 44

The original layout, which hosts read, says a stage's width as a whole multiple of the first (64), so 96 has to become
128. Every group of three channels gets a copy of its third; whatever reads them takes half of each copy, so the
function is the same but for the norms over the wider groups and the products of the attention in these stages, which
the training mends.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from lessons import read_lesson
from networks import WIDTHS, Painter, export, new_unet
from progress import Length
from torch import Tensor
from transformers import CLIPTextModel
from unet import Recipe, errors, train_unet
from words import build_tokenizer, read_vocabulary

NARROW, WIDE = 96, 128
SOURCE = torch.tensor([3 * (new // 4) + min(new % 4, 2) for new in range(WIDE)])  # which channel a new one repeats
SHARE = torch.tensor([0.5 if new % 4 >= 2 else 1.0 for new in range(WIDE)])  # channels that exist twice count half
# Concatenations in the decoder hold the hidden channels first and then the encoder's.
BLOCKS = {(96, 128): (96,), (224, 256): (128, 96), (160, 192): (96, 64)}


@torch.no_grad()
def widened(old: UNet2DConditionModel) -> UNet2DConditionModel:
    """The same network with stages of WIDTHS channels."""
    new = new_unet(WIDTHS)
    state, target = old.state_dict(), new.state_dict()
    for name, goal in target.items():
        weight = state[name]
        for axis in range(weight.ndim):
            if weight.shape[axis] != goal.shape[axis]:
                weight = _expand(weight, axis, goal.shape[axis], reads=axis == 1)
        goal.copy_(weight)
    new.load_state_dict(target)
    return new


def _expand(weight: Tensor, axis: int, wanted: int, reads: bool) -> Tensor:
    """reads: the axis is that of a layer's input."""
    size = weight.shape[axis]
    blocks = BLOCKS.get((size, wanted)) or (NARROW,) * (wanted // WIDE)
    parts, at = [], 0
    for block in blocks:
        part = weight.narrow(axis, at, block)
        at += block
        if block == NARROW:
            part = part.index_select(axis, SOURCE)
            if reads:
                part = part * SHARE.view([-1 if k == axis else 1 for k in range(part.ndim)])
        parts.append(part)
    if at != size:
        raise ValueError(f"an axis of {size} channels does not consist of {blocks}")
    return torch.cat(parts, axis)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the diffusers folder with stages of 64, 96, 128 and 192 channels")
    parser.add_argument("--work", type=Path, default=Path("training/runs-wide"))
    parser.add_argument("--export", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=44)
    parser.add_argument("--lr", type=float, default=1.2e-4, help="ten times as much has made it worse")
    parser.add_argument("--batch", type=int, default=8, help="whole scenes of a step; twice as many close ones")
    parser.add_argument("--whole", type=int, default=3000)
    parser.add_argument("--close", type=int, default=6000)
    parser.add_argument("--first", type=int, default=10_000, help="number of the first scene")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    build_tokenizer(arguments.work / "tokenizer")
    ids = read_vocabulary(arguments.work / "tokenizer")
    device = torch.device("cpu")
    autoencoder = AutoencoderKL.from_pretrained(arguments.model / "vae", low_cpu_mem_usage=False).float().eval()
    counts = {"whole": arguments.whole, "close": arguments.close}
    lessons = {kind: read_lesson(kind, n, ids, device, first=arguments.first) for kind, n in counts.items()}
    for lesson in lessons.values():
        lesson.encode(autoencoder, batch=32)
    old = UNet2DConditionModel.from_pretrained(arguments.model / "unet", low_cpu_mem_usage=False).float()
    text = CLIPTextModel.from_pretrained(arguments.model / "text_encoder").float()
    painter = Painter(widened(old), text)
    known = lessons["whole"]
    assert known.latents is not None  # encoded above
    some, rows = known.latents[:32].float(), known.rows[:32, 3].long()
    print("v error before", errors(Painter(old, text), some, rows), flush=True)
    print("v error widened", errors(painter, some, rows), flush=True)
    recipe = Recipe(batch=arguments.batch, close_until=0.6, close_share=0.4, lr=arguments.lr, keep=0.99)
    painter, _, _ = train_unet(
        painter, lessons, ids, recipe, Length(60 * arguments.minutes), torch.float32, arguments.work / "unet.pt"
    )
    print("v error after", errors(painter, some, rows), flush=True)
    export(arguments.export, painter, autoencoder, arguments.work / "tokenizer")


if __name__ == "__main__":
    main()
