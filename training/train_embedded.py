"""Train the demonstration model, from nothing, on scenes that this repository draws itself.

    python training/train_embedded.py --work training/runs --export sdk/model/embedded            # ten minutes on a GPU
    python training/train_embedded.py --unet-seconds 20000 --whole 6000 --close 12000 --batch 8   # a night on two cores

Autoencoder, latents, U-Net with its text encoder, export. The U-Net's training goes on from its checkpoint when the
same command is given again. Recipe and results: README.md.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from autoencoder import Pictures, latent_spread, quality, train_autoencoder
from diffusers import AutoencoderKL
from dragtext.sdk.evaluation.batches import draw_batch
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED, make_scene
from lessons import Lesson, Pair, read_lesson
from networks import WIDTHS, export, new_autoencoder, new_text_encoder, new_unet, standardise
from progress import Length, restore, save
from torch import nn
from unet import Recipe, errors, train_unet
from words import build_tokenizer, read_vocabulary, token_row

UNSEEN = 256


def choose_precision(device: torch.device, asked: str) -> torch.dtype:
    """bfloat16 on a GPU, and on a CPU that multiplies it in hardware: others take many times as long as in float32."""
    if asked != "auto":
        return getattr(torch, asked)
    if device.type == "cuda":
        return torch.bfloat16
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return torch.bfloat16 if "amx_bf16" in flags or "avx512_bf16" in flags else torch.float32


def held_out(texts: list[str]) -> list[Pair]:
    """`red cat` and so on as pairs of colour and figure."""
    pairs = []
    for text in texts:
        colour, figure = text.split()
        pairs.append((colour, figure))
    return pairs


def make_autoencoder(arguments: argparse.Namespace, whole: Lesson) -> AutoencoderKL:
    """Trained and standardised, or as an earlier run left it."""
    path = arguments.work / "autoencoder-done.pt"
    if state := restore(path):
        model = new_autoencoder()
        model.load_state_dict(state)
        return model.to(arguments.device).eval()
    pictures = Pictures(whole)
    length = Length(arguments.vae_seconds, arguments.vae_steps)
    model, curve = train_autoencoder(pictures, length, arguments.vae_batch, arguments.work / "autoencoder.pt")
    mean, least = quality(model, torch.device(arguments.device))
    print(f"autoencoder on unseen scenes: {mean:.2f} dB, least {least:.2f} dB", flush=True)
    standardise(model, *latent_spread(model, pictures))
    save(model.state_dict(), path)
    (arguments.work / "autoencoder.json").write_text(json.dumps({"curve": curve, "psnr": mean, "least": least}))
    return model


@torch.no_grad()
def judge(network: nn.ModuleDict, autoencoder: AutoencoderKL, ids: dict[str, int], device: torch.device) -> dict:
    """Errors on unseen scenes with all that can be said of them."""
    scenes = [make_scene(FIRST_UNSEEN_SEED + i) for i in range(UNSEEN)]
    pixels = draw_batch(scenes, device)[0] / 127.5 - 1
    clean = torch.cat([autoencoder.encode(part).latent_dist.mean for part in pixels.split(32)])
    rows = np.stack([token_row(scene.describe(pose=True, places=True), ids) for scene in scenes])
    return errors(network, clean, torch.tensor(rows, device=device).long())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("training/runs"), help="checkpoints and curves")
    parser.add_argument("--export", type=Path, default=Path("sdk/model/embedded"), help="the diffusers folder to write")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="of the U-Net")
    parser.add_argument("--vae-seconds", type=float, default=70)
    parser.add_argument("--unet-seconds", type=float, default=300)
    parser.add_argument("--vae-steps", type=int, help="instead of seconds")
    parser.add_argument("--unet-steps", type=int, help="instead of seconds")
    parser.add_argument("--vae-batch", type=int, default=48, help="whole pictures of a step; three times as many crops")
    parser.add_argument("--batch", type=int, default=512, help="whole scenes of a step; twice as many close ones")
    parser.add_argument("--whole", type=int, default=80_000, help="scenes of 256 px")
    parser.add_argument("--close", type=int, default=60_000, help="scenes of 128 px")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--widths", type=int, nargs=4, default=WIDTHS)
    parser.add_argument(
        "--hold-out", action="append", default=[], help="a colour and a figure never seen, as 'red cat'"
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    device = torch.device(arguments.device)
    precision = choose_precision(device, arguments.precision)
    torch.manual_seed(0)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    tokenizer = build_tokenizer(arguments.work / "tokenizer")
    ids = read_vocabulary(arguments.work / "tokenizer")
    pairs = held_out(arguments.hold_out)
    counts = {"whole": arguments.whole, "close": arguments.close}
    lessons = {kind: read_lesson(kind, count, ids, device, pairs) for kind, count in counts.items()}
    print("scenes", {kind: len(lesson) for kind, lesson in lessons.items()}, flush=True)
    autoencoder = make_autoencoder(arguments, lessons["whole"])
    for lesson in lessons.values():
        lesson.encode(autoencoder, batch=512 if device.type == "cuda" else 32)
    network = nn.ModuleDict({"unet": new_unet(tuple(arguments.widths)), "text": new_text_encoder(tokenizer)})
    network, curve, seen = train_unet(
        network.to(device),
        lessons,
        ids,
        Recipe(batch=arguments.batch, lr=arguments.lr),
        Length(arguments.unet_seconds, arguments.unet_steps),
        precision,
        arguments.work / "unet.pt",
    )
    error = judge(network, autoencoder, ids, device)
    print("v error on unseen scenes", error, "seen", seen, flush=True)
    report = {
        "curve": curve,
        "seen": seen,
        "error": error,
        "arguments": {k: str(v) for k, v in vars(arguments).items()},
    }
    (arguments.work / "unet.json").write_text(json.dumps(report))
    export(arguments.export, network, autoencoder, arguments.work / "tokenizer")


if __name__ == "__main__":
    main()
