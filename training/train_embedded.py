"""Train the demonstration model, from nothing, on scenes that this repository draws itself.

    python training/train_embedded.py --work training/runs --export sdk/model/embedded            # ten minutes on a GPU
    python training/train_embedded.py --unet-seconds 20000 --whole 6000 --close 12000 --batch 8   # a night on two cores
    python training/train_embedded.py --xl                         # its sibling in SDXL's form: training/runs/xl/model

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
from networks import WIDTHS, Painter, export, new_autoencoder, new_text_encoder, new_unet, standardise
from progress import Length, restore, save
from sibling import begin_from, new_xl_painter
from transformers import CLIPTokenizer
from unet import Recipe, errors, train_unet
from words import build_tokenizer, read_vocabulary, token_row

UNSEEN = 256
EMBEDDED = Path("sdk/model/embedded")


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
    """Trained and standardised, or as an earlier run left it; the sibling has the demonstration model's."""
    if arguments.xl:
        model = AutoencoderKL.from_pretrained(arguments.begin / "vae", low_cpu_mem_usage=False)
        return model.float().to(arguments.device).eval()
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


def make_painter(arguments: argparse.Namespace, tokenizer: CLIPTokenizer) -> Painter:
    """Untrained, or the sibling with what the demonstration model has learnt."""
    if not arguments.xl:
        return Painter(new_unet(tuple(arguments.widths)), new_text_encoder(tokenizer))
    painter = new_xl_painter(tokenizer)
    print(f"taken over: {begin_from(painter, arguments.begin):.2f} of the parameters", flush=True)
    return painter


@torch.no_grad()
def judge(painter: Painter, autoencoder: AutoencoderKL, ids: dict[str, int], device: torch.device) -> dict:
    """Errors on unseen scenes with all that can be said of them."""
    scenes = [make_scene(FIRST_UNSEEN_SEED + i) for i in range(UNSEEN)]
    pixels = draw_batch(scenes, device)[0] / 127.5 - 1
    clean = torch.cat([autoencoder.encode(part).latent_dist.mean for part in pixels.split(32)])
    rows = np.stack([token_row(scene.describe(pose=True, places=True), ids) for scene in scenes])
    return errors(painter, clean, torch.tensor(rows, device=device).long())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--xl", action="store_true", help="train the sibling in SDXL's form instead")
    parser.add_argument("--begin", type=Path, default=EMBEDDED, help="the model that the sibling begins from")
    parser.add_argument("--work", type=Path, help="checkpoints and curves; training/runs, of the sibling runs/xl in it")
    parser.add_argument("--export", type=Path, help="the diffusers folder to write; of the sibling WORK/model")
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
    arguments.work = arguments.work or Path("training/runs", "xl" if arguments.xl else "")
    arguments.export = arguments.export or (arguments.work / "model" if arguments.xl else EMBEDDED)
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
    painter, curve, seen = train_unet(
        make_painter(arguments, tokenizer).to(device),
        lessons,
        ids,
        Recipe(batch=arguments.batch, lr=arguments.lr),
        Length(arguments.unet_seconds, arguments.unet_steps),
        precision,
        arguments.work / "unet.pt",
    )
    error = judge(painter, autoencoder, ids, device)
    print("v error on unseen scenes", error, "seen", seen, flush=True)
    report = {
        "curve": curve,
        "seen": seen,
        "error": error,
        "arguments": {k: str(v) for k, v in vars(arguments).items()},
    }
    (arguments.work / "unet.json").write_text(json.dumps(report))
    export(arguments.export, painter, autoencoder, arguments.work / "tokenizer")


if __name__ == "__main__":
    main()
