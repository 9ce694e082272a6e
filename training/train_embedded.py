"""Train the embedded model, from nothing, on scenes that this repository draws itself.

    python training/train_embedded.py all --work training/runs --export sdk/model/embedded

Stages: autoencoder, latents, decoder, unet (with the text encoder), export. Each writes its checkpoint atomically every
minute and goes on from it, so a stopped run is started again with the same command. Recipe and results: README.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import shutil
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from dragtext.sdk.evaluation.scenes import FIRST_EVALUATION_SEED, make_scene, object_mask, render
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SAVE_EVERY = 60.0  # seconds
TEXT_WIDTH = 128


def save(state: dict, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def restore(path: Path) -> dict | None:
    # Our own checkpoint, written by `save`; weights_only keeps even that from running code.
    return torch.load(path, weights_only=True) if path.exists() else None


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


def train_autoencoder(work: Path, minutes: float, decoder_only: bool = False) -> None:
    """Crowded crops, then whole images; L1 and L2 with colour and objects weighted up, a trace of KL, averaged weights.

    decoder_only: go on with the decoder on whole images, beside the U-Net's training: the latents stay what they were.
    """
    path = work / ("decoder.pt" if decoder_only else "autoencoder.pt")
    model = new_autoencoder().to(memory_format=torch.channels_last)
    if decoder_only:
        model.load_state_dict(restore(work / "autoencoder.pt")["average"])
        model.encoder.requires_grad_(False)
        model.quant_conv.requires_grad_(False)
    average = copy.deepcopy(model).requires_grad_(False)
    peak = 1e-3 if decoder_only else 2e-3
    optimiser = torch.optim.AdamW(model.parameters(), lr=peak, betas=(0.9, 0.99), weight_decay=1e-4)
    state = restore(path)
    step, spent = 0, 0.0
    if state:
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    rng = np.random.default_rng([step, int(decoder_only)])
    begin = saved = time.time()
    recent: list[float] = []

    def checkpoint(total: float) -> None:
        weights = {"model": model.state_dict(), "average": average.state_dict()}
        save({**weights, "optimiser": optimiser.state_dict(), "step": step, "spent": total}, path)

    while spent + time.time() - begin < minutes * 60:
        share = (spent + time.time() - begin) / (minutes * 60)
        for group in optimiser.param_groups:
            group["lr"] = float(peak * min(1.0, (step + 1) / 50) * max(0.03, 0.5 * (1 + np.cos(np.pi * share))))
        # Crowded crops teach the local code for little time; but group normalisation sees a whole image's statistics
        # in use, so the last part goes to whole images.
        pixels, weight = autoencoder_batch(rng, whole=decoder_only or share > 0.65 or step % 8 == 7)
        posterior = model.encode(pixels.to(memory_format=torch.channels_last)).latent_dist
        decoded = model.decode(posterior.mode() + 0.1 * torch.randn_like(posterior.mean)).sample
        error = decoded - pixels
        # Brightness is learnt within minutes; colour lags far behind unless it counts more.
        chroma = error - error.mean(dim=1, keepdim=True)
        loss = (weight * (error.abs() + 4 * error.square() + 8 * chroma.square())).mean()
        loss = loss + 1e-6 * posterior.kl().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        step += 1
        follow(average, model, min(0.995, step / (step + 20)))
        recent.append(error.detach().square().mean().item())
        if step % 100 == 0:
            psnr = 10 * np.log10(4 / np.mean(recent[-100:]))
            print(f"autoencoder step {step} loss {loss.item():.4f} psnr {psnr:.1f} share {share:.2f}", flush=True)
        if time.time() - saved > SAVE_EVERY:
            saved = time.time()
            checkpoint(spent + saved - begin)
    checkpoint(minutes * 60)


@torch.no_grad()
def follow(average: torch.nn.Module, model: torch.nn.Module, keep: float) -> None:
    """Exponential moving average of the weights."""
    for slow, fast in zip(average.parameters(), model.parameters()):
        slow.lerp_(fast, 1 - keep)


@torch.no_grad()
def cache_latents(work: Path, count: int) -> None:
    """Posterior means of `count` training scenes.

    At the model's own size: cropping larger ones at random would give more positions for the same encoding, but the
    autoencoder's padding marks a picture's border, and a U-Net that seldom sees the mark paints stripes there.
    """
    path = work / "latents.pt"
    if path.exists():
        return
    model = new_autoencoder().eval()
    model.load_state_dict(restore(work / "autoencoder.pt")["average"])
    latents = []
    for start in range(0, count, 4):
        images = np.stack([render(make_scene(seed)) for seed in range(start, min(start + 4, count))])
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
        latents.append(model.encode(pixels).latent_dist.mean)
        if start % 200 == 0:
            print("latents", start, flush=True)
    stacked = torch.cat(latents)
    save({"latents": stacked, "scale": 1 / stacked.std().item()}, path)


def train_unet(work: Path, minutes: float, batch: int) -> None:
    """Noise prediction with min-SNR weighting, prompt dropout and an exponential moving average."""
    cached = restore(work / "latents.pt")
    latents = cached["latents"] * cached["scale"]
    tokenizer = build_tokenizer(work / "tokenizer")
    scenes = [make_scene(seed) for seed in range(len(latents))]
    abar = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").alphas_cumprod

    unet = new_unet().to(memory_format=torch.channels_last)
    text_encoder = new_text_encoder(tokenizer)
    models = torch.nn.ModuleDict({"unet": unet, "text": text_encoder})
    average = copy.deepcopy(models).requires_grad_(False)
    optimiser = torch.optim.AdamW(models.parameters(), lr=1e-3, weight_decay=1e-3)
    path = work / "unet.pt"
    state = restore(path)
    step, spent = 0, 0.0
    if state:
        models.load_state_dict(state["models"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step, spent = state["step"], state["spent"]
    generator = torch.Generator().manual_seed(step)
    begin = saved = time.time()
    losses: list[float] = []

    def checkpoint(total: float) -> None:
        state = {"models": models.state_dict(), "average": average.state_dict()}
        save({**state, "optimiser": optimiser.state_dict(), "step": step, "spent": total}, path)

    while spent + time.time() - begin < minutes * 60:
        share = (spent + time.time() - begin) / (minutes * 60)
        for group in optimiser.param_groups:
            group["lr"] = float(1e-3 * min(1.0, (step + 1) / 100) * max(0.05, 0.5 * (1 + np.cos(np.pi * share))))
        picked = torch.randint(0, len(latents), (batch,), generator=generator)
        clean = latents[picked]
        dice = torch.rand(batch, generator=generator).tolist()
        captions = ["" if die < 0.1 else scenes[i].describe(places=die < 0.5) for i, die in zip(picked.tolist(), dice)]
        tokens = tokenizer(captions, padding="max_length", max_length=77, return_tensors="pt").input_ids
        timesteps = torch.randint(0, 1000, (batch,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        level = abar[timesteps][:, None, None, None]
        noisy = (level.sqrt() * clean + (1 - level).sqrt() * noise).to(memory_format=torch.channels_last)
        embedding = text_encoder(tokens).last_hidden_state
        predicted = unet(noisy, timesteps, embedding).sample
        snr = abar[timesteps] / (1 - abar[timesteps])
        weight = (snr.clamp(max=5.0) / snr)[:, None, None, None]
        loss = (weight * (predicted - noise).square()).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimiser.step()
        step += 1
        with torch.no_grad():
            keep = min(0.99, step / (step + 20))
            for slow, fast in zip(average.parameters(), models.parameters()):
                slow.lerp_(fast, 1 - keep)
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"unet step {step} loss {np.mean(losses[-50:]):.4f} share {share:.2f}", flush=True)
        if time.time() - saved > SAVE_EVERY:
            saved = time.time()
            checkpoint(spent + saved - begin)
    checkpoint(minutes * 60)


def export(work: Path, target: Path) -> None:
    """Write the averaged weights as a half-precision diffusers folder."""
    folder = work / "export"
    shutil.rmtree(folder, ignore_errors=True)
    tokenizer = build_tokenizer(folder / "tokenizer")
    vae = new_autoencoder()
    decoder = work / "decoder.pt"
    vae.load_state_dict(restore(decoder if decoder.exists() else work / "autoencoder.pt")["average"])
    vae.register_to_config(scaling_factor=round(restore(work / "latents.pt")["scale"], 5))
    models = torch.nn.ModuleDict({"unet": new_unet(), "text": new_text_encoder(tokenizer)})
    models.load_state_dict(restore(work / "unet.pt")["average"])
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
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
    parser.add_argument("stage", choices=("autoencoder", "latents", "decoder", "unet", "export", "all"))
    parser.add_argument("--work", type=Path, default=Path("training/runs"))
    parser.add_argument("--export", type=Path, default=Path("sdk/model/embedded"))
    parser.add_argument("--autoencoder-minutes", type=float, default=60)
    parser.add_argument("--decoder-minutes", type=float, default=30)
    parser.add_argument("--unet-minutes", type=float, default=180)
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--batch", type=int, default=8)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if arguments.stage in ("autoencoder", "all"):
        train_autoencoder(arguments.work, arguments.autoencoder_minutes)
    if arguments.stage in ("latents", "all"):
        cache_latents(arguments.work, arguments.scenes)
    if arguments.stage in ("decoder", "all"):
        train_autoencoder(arguments.work, arguments.decoder_minutes, decoder_only=True)
    if arguments.stage in ("unet", "all"):
        train_unet(arguments.work, arguments.unet_minutes, arguments.batch)
    if arguments.stage in ("export", "all"):
        export(arguments.work, arguments.export)


if __name__ == "__main__":
    main()
