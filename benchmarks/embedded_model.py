"""What the embedded model can do, on scenes that training never saw: the bars in its model card.

    python benchmarks/embedded_model.py [--pictures FOLDER]

Autoencoder PSNR; PSNR of inversion and reconstruction without an edit; how many of 50 prompts give a picture with the
named colour and shape (guidance 5, 30 steps), told by segmentation and contours.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from dragtext import sdk
from dragtext.sdk.evaluation.recognise import recognise
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, make_scene, render
from dragtext.sdk.model.base import DiffusionModel
from dragtext.sdk.model.schedule import TimeGrid, ddim_step, invert
from dragtext.sdk.picture.drawing import contact_sheet
from dragtext.sdk.picture.frame import Frame
from PIL import Image

FIRST_SEED = FIRST_EVALUATION_SEED + 5000  # not the scenes that the demo or the drags show


def psnr(image: np.ndarray, other: np.ndarray) -> float:
    """Decibels between two uint8 images."""
    return float(10 * np.log10(255**2 / np.mean((image.astype(np.float64) - other) ** 2)))


@torch.no_grad()
def reconstruct(model: DiffusionModel, image: np.ndarray, caption: str) -> tuple[np.ndarray, np.ndarray]:
    """The picture through the autoencoder alone, and through inversion and denoising at strength 0.7."""
    frame = Frame.of(*image.shape[:2], multiple=model.size_multiple)
    clean = model.encode_image(frame.image_to_model(image).to(model.device)).mean
    text = model.encode_text(caption).embedding
    times = TimeGrid.of(0.7, 50)
    *_, latent = invert(model, times, clean, text)
    for timestep in times.timesteps:
        latent = ddim_step(model, times, model.predict(latent, timestep, text), latent, timestep)
    decoded = [frame.image_from_model(model.decode(z)) for z in (clean, latent)]
    return decoded[0], decoded[1]


@torch.no_grad()
def generate(model: DiffusionModel, prompt: str, seed: int, guidance: float = 5.0, steps: int = 30) -> np.ndarray:
    """(S, S, 3) uint8 RGB from noise, deterministic DDIM with classifier-free guidance."""
    side = model.native_resolution // 8
    latent = torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed)).to(model.device)
    text = torch.cat([model.encode_text("").embedding, model.encode_text(prompt).embedding])
    times = TimeGrid.of(1.0, steps)
    for timestep in times.timesteps:
        without, given = model.predict(latent.expand(2, -1, -1, -1), timestep, text).chunk(2)
        latent = ddim_step(model, times, without + guidance * (given - without), latent, timestep)
    return (model.decode(latent)[0].permute(1, 2, 0).cpu().numpy() * 255).astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=40, help="scenes for the two PSNRs")
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--model", help="as for `dragtext edit` [the embedded model]")
    parser.add_argument("--pictures", type=Path, help="write contact sheets into this folder")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    model = sdk.load_model(arguments.model)

    seen: list[np.ndarray] = []
    autoencoder, inversion = [], []
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.scenes):
        scene = make_scene(seed)
        image = render(scene)
        coded, inverted = reconstruct(model, image, scene.caption)
        autoencoder.append(psnr(image, coded))
        inversion.append(psnr(image, inverted))
        seen += [image, coded, inverted]

    drawn, labels = [], []
    right = {"colour": 0, "shape": 0, "both": 0}
    for seed in range(FIRST_SEED, FIRST_SEED + arguments.prompts):
        scene = make_scene(seed, count=1, figures=0.0)
        wanted = scene.objects[0].colour, scene.objects[0].shape
        picture = generate(model, scene.caption, seed)
        found = recognise(picture) or ("nothing", "nothing")
        right["colour"] += found[0] == wanted[0]
        right["shape"] += found[1] == wanted[1]
        right["both"] += found == wanted
        drawn.append(picture)
        labels.append(f"{wanted[0]} {wanted[1]}")
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        names = ["original", "autoencoder", "inverted"] * (len(seen) // 3)
        sheet = contact_sheet(seen[:1] + seen[:24], ["", *names[:24]], 6)
        Image.fromarray(sheet[sheet.shape[0] // 5 :]).save(arguments.pictures / "reconstructions.png")
        if drawn:
            Image.fromarray(contact_sheet(drawn[:25], labels[:25], 6)).save(arguments.pictures / "generated.png")
    facts = {
        "autoencoder_psnr": float(np.mean(autoencoder)),
        "inversion_psnr": float(np.mean(inversion)),
        "prompts": arguments.prompts,
        **{f"right_{name}": count for name, count in right.items()},
    }
    if arguments.json:
        print(json.dumps(facts))
        return
    print(f"autoencoder PSNR              {facts['autoencoder_psnr']:.1f} dB  (bar 30)")
    print(f"inversion and reconstruction  {facts['inversion_psnr']:.1f} dB  (bar 26)")
    print(
        f"prompts with the right colour and shape  {right['both']} of {arguments.prompts} (bar 80 %); "
        f"colour {right['colour']}, shape {right['shape']}"
    )


if __name__ == "__main__":
    main()
