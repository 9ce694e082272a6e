"""What it costs to drag the features of each decoder stage, of Stable Diffusion 1.5 and SDXL at full size.

    python benchmarks/blocks.py

Arithmetic of an iteration's forward, which ends at the stage, and of its backward to latent and text, counted on the
meta device: nothing is allocated. How well drags go is another question:

    dragtext bench scenes --method gooddrag --no-text --vary feature_block=2,3,4 --category move,part
"""

from __future__ import annotations

import torch
from dragtext.sdk.model.taps import features_only
from memory import conditioning, make_model
from torch.utils.flop_counter import FlopCounterMode

SIZES = {"sd15": 512, "sdxl": 1024}


def main() -> None:
    print("| model | `feature_block` | channels | cells | forward, TFLOP | with backward | of the whole U-Net's |")
    print("|---|---|---|---|---|---|---|")
    meta = torch.device("meta")
    for kind, side in SIZES.items():
        model = make_model(kind, meta, torch.float32)
        latent = torch.zeros(1, 4, side // 8, side // 8, device=meta, requires_grad=True)
        text = conditioning(model)
        tokens = text.tokens.clone().requires_grad_()
        rows = []
        for block in range(5 - len(model.layout.stages), 5):
            with FlopCounterMode(display=False) as forward:
                feature = features_only(model, latent, 500, text.with_tokens(tokens), block)
            with FlopCounterMode(display=False) as backward:
                torch.autograd.grad(feature.sum(), [latent, tokens])
            rows.append((block, feature.shape, forward.get_total_flops(), backward.get_total_flops()))
        with FlopCounterMode(display=False) as whole:
            model.predict(latent, 500, text.with_tokens(tokens))
        for block, shape, ahead, back in rows:
            total = whole.get_total_flops()
            print(
                f"| {kind}, {side} px | {block} | {shape[1]} | {shape[2]} x {shape[3]} | {ahead / 1e12:.2f} | "
                f"{(ahead + back) / 1e12:.2f} | {ahead / total:.2f} |"
            )


if __name__ == "__main__":
    main()
