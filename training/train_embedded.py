"""Train the embedded model, from nothing, on scenes that this repository draws itself.

    python training/train_embedded.py all --work training/runs --export sdk/model/embedded

Stages: autoencoder, latents, unet (with the text encoder), export. Each writes its checkpoint atomically every
minute and goes on from it, so a stopped run is started again with the same command. Recipe and results: README.md.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, Scene, make_scene, object_mask, render
from lessons import Lesson, close_scene, training_scene
from muon import make_optimisers
from norms import neutralise
from progress import Run, restore, save
from reading import Reading
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH = 128
SCHEDULE: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
NEUTRAL = 3.0  # see norms.py


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP-style byte-level BPE whose merges are learnt from the captions until every word is one token."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(c) for c in printable] + [chr(256 + k) for k in range(256 - len(printable))]
    words = Counter(w for seed in range(3000) for w in re.findall(r"[a-z]+", make_scene(seed).describe(places=True)))
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in words}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter = Counter()
        for word, count in words.items():
            for pair in zip(pieces[word], pieces[word][1:]):
                pairs[pair] += count
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, parts in pieces.items():
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            pieces[word] = merged
    vocabulary = symbols + [s + "</w>" for s in symbols] + ["".join(m) for m in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    ids = {word: index for index, word in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(m) for m in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    special = {"bos_token": "<|startoftext|>"}
    special |= dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def new_autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(16, 32, 64, 64),
        layers_per_block=1,
        norm_num_groups=4,  # few groups: with one channel per group a flat image loses its colour
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        block_out_channels=(64, 64, 128, 128),
        layers_per_block=1,
        norm_num_groups=32,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
        cross_attention_dim=TEXT_WIDTH,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="quick_gelu",
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def autoencoder_batch(rng: np.random.Generator, whole: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (n, 3, s, s) in [-1, 1] and weights (n, 1, s, s): a whole scene, or quarters of crowded small ones."""
    if whole:
        scenes = [make_scene(int(s)) for s in rng.integers(0, FIRST_EVALUATION_SEED, 1)]
    else:
        seeds = rng.integers(0, FIRST_EVALUATION_SEED, 2)
        scenes = [make_scene(int(s), 192, count=4, overlap=True) for s in seeds]
    images = np.stack([render(s) for s in scenes])
    # Most of a scene is background; what lies on an object counts four times.
    masks = [np.any([object_mask(o, s.size) for o in s.objects], axis=0) for s in scenes]
    weights = 1 + 3 * np.stack(masks)[..., None]
    stacked = np.concatenate([images, weights], axis=3)
    if not whole:
        half = images.shape[1] // 2
        stacked = np.concatenate([stacked[:, y : y + half, x : x + half] for y in (0, half) for x in (0, half)])
        stacked = stacked[rng.permutation(len(stacked))[:4]]
    batch = torch.from_numpy(np.ascontiguousarray(stacked)).permute(0, 3, 1, 2).float()
    return batch[:, :3] / 127.5 - 1, batch[:, 3:] / batch[:, 3:].mean()


def small_picture(pixels: torch.Tensor) -> torch.Tensor:
    """(n, 3, s / 8, s / 8): brightness and two colour differences of (n, 3, s, s) RGB, averaged over 8x8 pixels.

    What the first three latent channels are drawn to: a latent that is a small picture is easier for the U-Net. Colour
    is stretched, because few pixels have any.
    """
    mixed = torch.tensor([[0.5, 0.5, 0.5], [3.0, 0.0, -3.0], [-1.5, 3.0, -1.5]]).to(pixels)
    return torch.einsum("oc,nchw->nohw", mixed, torch.nn.functional.avg_pool2d(pixels, 8))


def train_autoencoder(work: Path, minutes: float) -> None:
    """L1 and L2 with colour and objects weighted up, the pull to a small picture, a trace of KL, averaged weights."""
    if (work / "latents.pt").exists():
        return  # they belong to the weights as they are
    model = new_autoencoder()
    neutralise(model, NEUTRAL)
    model = model.to(memory_format=torch.channels_last)
    run = Run(work / "autoencoder.pt", model, make_optimisers(model, 3e-3, 2e-3), minutes, keep=0.995)
    rng = np.random.default_rng(run.step)
    while run.goes_on():
        # Crowded crops teach the local code for little time; the last part also sees whole images' borders.
        pixels, weight = autoencoder_batch(rng, whole=run.share > 0.85)
        posterior = model.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
        decoded = model.decode(posterior.mean + 0.05 * torch.randn_like(posterior.mean)).sample
        error = decoded - pixels
        # Brightness is learnt within minutes; colour lags far behind unless it counts more.
        chroma = error - error.mean(dim=1, keepdim=True)
        loss = (weight * (error.abs() + 4 * error.square() + 8 * chroma.square())).mean()
        loss = loss + 1e-6 * posterior.kl().mean()
        # Strong at first, when it shows the encoder the way and gives the decoder something to learn from.
        pull = 0.02 + 0.5 * max(0.0, 1 - run.share / 0.3)
        loss = loss + pull * (posterior.mean[:, :3] - small_picture(pixels)).square().mean()
        run.learn(loss, error.detach().square().mean().item())


def cache_latents(work: Path, count: int, close_count: int) -> None:
    """Posterior means of `count` training scenes and of `close_count` close ones, in deviations of the former.

    Whole pictures: cropping larger ones at random would give more positions for the same encoding, but the
    autoencoder's padding marks a picture's border, and a U-Net that seldom sees the mark paints stripes there.
    """
    path, close_path = work / "latents.pt", work / "close.pt"
    model = new_autoencoder().eval()
    model.load_state_dict(restore(work / "autoencoder.pt")["average"])
    if not path.exists():
        latents = encode_scenes(model, training_scene, count)
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        save({"latents": in_deviations(latents, mean, std), "mean": mean, "std": std}, path)
    if not close_path.exists():
        kept = restore(path)
        latents = encode_scenes(model, close_scene, close_count)
        save({"latents": in_deviations(latents, kept["mean"], kept["std"])}, close_path)


@torch.no_grad()
def encode_scenes(model: AutoencoderKL, scene: Callable[[int], Scene], count: int) -> torch.Tensor:
    """(count, 4, h, w): the posterior means of scenes 0 to count - 1."""
    latents = []
    for start in range(0, count, 4):
        images = np.stack([render(scene(number)) for number in range(start, min(start + 4, count))])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents.append(model.encode(pixels).latent_dist.mean)
        if start % 400 == 0:
            print("latents", start, flush=True)
    return torch.cat(latents)


def in_deviations(latents: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    return (latents - mean[:, None, None]) / std[:, None, None]


@torch.no_grad()
def standardise(model: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Fold (4,) means and deviations of the latent's channels into the 1x1 convolutions: then all weigh the same."""
    into, back = model.quant_conv, model.post_quant_conv
    into.weight[:4] /= std[:, None, None, None]
    into.bias[:4] = (into.bias[:4] - mean) / std
    into.bias[4:] -= 2 * std.log()  # the variance's logarithm
    back.bias += back.weight[:, :, 0, 0] @ mean
    back.weight *= std[None, :, None, None]


def draw_timesteps(count: int, generator: torch.Generator) -> torch.Tensor:
    """(count,) of 0 to 999: half of them even, half near the middle, where shapes are decided.

    Near the end most of the error can't be learnt away, near the start it is texture (as Esser et al., 2024, arXiv
    2403.03206, section 3.1).
    """
    even = torch.rand(count, generator=generator)
    middle = (0.3 + 0.9 * torch.randn(count, generator=generator)).sigmoid()
    share = torch.where(torch.rand(count, generator=generator) < 0.5, even, middle)
    return (share * 1000).long().clamp(max=999)


def train_unet(work: Path, minutes: float, batch: int) -> None:
    """The U-Net and its text encoder: v-prediction, prompt dropout, perturbed inputs, a second teacher (reading.py)."""
    tokenizer = build_tokenizer(work / "tokenizer")
    whole = Lesson.of(work / "latents.pt", training_scene)
    close = Lesson.of(work / "close.pt", close_scene)
    abar = DDIMScheduler(**SCHEDULE).alphas_cumprod
    unet = new_unet().to(memory_format=torch.channels_last)
    reading = Reading(unet)
    models = torch.nn.ModuleDict({"unet": unet, "text": new_text_encoder(tokenizer), "reading": reading})
    run = Run(work / "unet.pt", models, make_optimisers(models, 3e-3, 1e-3), minutes, keep=0.995)
    generator = torch.Generator().manual_seed(run.step)
    while run.goes_on():
        # Close pictures cost a quarter and teach as much; the end is for the size that counts.
        near = run.share < 0.85 and torch.rand((), generator=generator) < 0.75
        clean, captions, labels = close.pick(batch, generator) if near else whole.pick((batch + 1) // 2, generator)
        tokens = tokenizer(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids
        timesteps = draw_timesteps(len(clean), generator)
        noise = torch.randn(clean.shape, generator=generator)
        level = abar[timesteps][:, None, None, None]
        # A little more noise than the time step says (Ning et al., 2023, arXiv 2301.11706): a drag leaves some, too.
        much = 0.3 * torch.randn(len(clean), 1, 1, 1, generator=generator)
        more = much * torch.randn(clean.shape, generator=generator)
        noisy = level.sqrt() * clean + (1 - level).sqrt() * (noise + more)
        text = models["text"](tokens).last_hidden_state
        predicted = unet(noisy.to(memory_format=torch.channels_last), timesteps, text).sample
        error = (predicted - level.sqrt() * noise + (1 - level).sqrt() * clean).square().mean()
        # What can't be seen for noise can't be read either.
        seen = level / (level + 0.2 * (1 - level))
        run.learn(error + 0.05 * reading.loss(labels, seen.flatten()), error.item())


def export(work: Path, target: Path) -> None:
    """Write the averaged weights as a half-precision diffusers folder."""
    folder = work / "export"
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = build_tokenizer(folder / "tokenizer")
    vae = new_autoencoder()
    vae.load_state_dict(restore(work / "autoencoder.pt")["average"])
    cached = restore(work / "latents.pt")
    standardise(vae, cached["mean"], cached["std"])
    vae.register_to_config(scaling_factor=1.0)
    models = torch.nn.ModuleDict({"unet": new_unet(), "text": new_text_encoder(tokenizer)})
    average = restore(work / "unet.pt")["average"]
    models.load_state_dict({name: value for name, value in average.items() if not name.startswith("reading.")})
    rest = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False, "steps_offset": 1}
    DDIMScheduler(**SCHEDULE, **rest).save_pretrained(folder / "scheduler")
    for name, module, file in (
        ("vae", vae, "diffusion_pytorch_model.safetensors"),
        ("unet", models["unet"], "diffusion_pytorch_model.safetensors"),
        ("text_encoder", models["text"], "model.safetensors"),
    ):
        module.save_pretrained(folder / name)
        weights = {
            key: value.half().contiguous() for key, value in module.state_dict().items() if "position_ids" not in key
        }
        save_file(weights, folder / name / file, metadata={"format": "pt"})
    index = {
        "_class_name": "StableDiffusionPipeline",
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            place = target / file.relative_to(folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("autoencoder", "latents", "unet", "export", "all"))
    parser.add_argument("--work", type=Path, default=Path("training/runs"))
    parser.add_argument("--export", type=Path, default=Path("sdk/model/embedded"))
    parser.add_argument("--autoencoder-minutes", type=float, default=60)
    parser.add_argument("--unet-minutes", type=float, default=180)
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--close-scenes", type=int, default=12000)
    parser.add_argument("--batch", type=int, default=24, help="close pictures of a step; half as many whole ones")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if arguments.stage in ("autoencoder", "all"):
        train_autoencoder(arguments.work, arguments.autoencoder_minutes)
    if arguments.stage in ("latents", "all"):
        cache_latents(arguments.work, arguments.scenes, arguments.close_scenes)
    if arguments.stage in ("unet", "all"):
        train_unet(arguments.work, arguments.unet_minutes, arguments.batch)
    if arguments.stage in ("export", "all"):
        export(arguments.work, arguments.export)


if __name__ == "__main__":
    main()
