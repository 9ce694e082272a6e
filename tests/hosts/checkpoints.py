"""A small checkpoint of SDXL's form with random weights, for A1111, Forge and Forge Neo.

`python -m tests.hosts.checkpoints FOLDER [--v]` writes into a WebUI's folder of checkpoints (models/Stable-diffusion):
small-xl.safetensors (145 MB) and, into the folder Lora beside that, a LoRA for it; a yaml by which A1111 builds the
model, small-xl-clip/ with the first text encoder's tokenizer for it, and small-xl-parts/ with what Forge takes from
folders of its own, once the folder `small` beside this file is among its extensions. --v: v prediction down to pure
noise, as NoobAI's v models have it (small-xl-v). Without a network A1111 and Forge make no previews of SDXL by their
default way: set "Live preview method" to "Approx cheap".

What hosts fix decides the sizes: each of the six numbers that the model is told is 256 values, and the second text
encoder is one that OpenCLIP has a name for.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from dragtext.sdk.model.diffusers import DiffusersModel, scaled_linear_alphas
from dragtext.sdk.model.vocabulary import clip_tokenizer, clip_tokenizer_files

from ..tiny import CLIP_WORDS, XL_SCALE, rescale, xl_original_layout

WIDTHS, DEPTHS, BLOCKS = (64, 128, 256), (1, 2, 3), 2
FIRST, SECOND, SECOND_LAYERS, OPEN_CLIP = 128, 256, 10, "ViT-S-32-alt"
FIRST_LAYERS = 4
SIZE_WIDTH = 256
POOLED = SECOND
VAE_WIDTH = 32


def small_xl(v: bool = False) -> DiffusersModel:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def text(width: int, layers: int, **more: Any) -> Any:
        return CLIPTextConfig(
            vocab_size=CLIP_WORDS,
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=width // 64,
            projection_dim=width,
            bos_token_id=CLIP_WORDS - 2,
            eos_token_id=CLIP_WORDS - 1,
            **more,
        )

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=WIDTHS,
            layers_per_block=BLOCKS,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=DEPTHS,
            cross_attention_dim=FIRST + SECOND,
            attention_head_dim=tuple(width // 64 for width in WIDTHS),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=SIZE_WIDTH,
            projection_class_embeddings_input_dim=POOLED + 6 * SIZE_WIDTH,
        )
        vae = AutoencoderKL(
            sample_size=1024,
            block_out_channels=(VAE_WIDTH,) * 4,
            layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            scaling_factor=XL_SCALE,
        )
        first = CLIPTextModel(text(FIRST, FIRST_LAYERS, hidden_act="quick_gelu", pad_token_id=CLIP_WORDS - 1))
        second = CLIPTextModelWithProjection(text(SECOND, SECOND_LAYERS, hidden_act="gelu", pad_token_id=0))
        sizes = {"text_embeds": torch.randn(1, POOLED), "time_ids": torch.full((1, 6), 256.0)}
        rescale(unet, vae, FIRST + SECOND, sizes)
        # Hosts sample from the posterior; a random one is so wide that img2img would begin with noise.
        with torch.no_grad():
            vae.quant_conv.weight[4:] = 0
            vae.quant_conv.bias[4:] = -12
    return DiffusersModel(
        unet,
        vae,
        first,
        clip_tokenizer("<|endoftext|>"),
        alphas_cumprod=scaled_linear_alphas(zero_terminal_snr=v),
        prediction_type="v_prediction" if v else "epsilon",
        name="small-xl",
        text_encoder_2=second,
        tokenizer_2=clip_tokenizer("!"),
    )


def write(folder: Path, v: bool = False) -> Path:
    import yaml
    from safetensors.torch import save_file

    model, name = small_xl(v), "small-xl-v" if v else "small-xl"
    path, clip, parts = folder / f"{name}.safetensors", folder / f"{name}-clip", folder / f"{name}-parts"
    weights = {key: value.half().contiguous() for key, value in xl_original_layout(model).items()}
    save_file(weights | ({"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)} if v else {}), str(path))
    # Settings that come with a model: a drag of the usual length takes an hour on a CPU.
    quick = {"method": "warp", "inference_steps": 10, "lora_steps": 0}
    path.with_suffix(".dragtext.json").write_text(json.dumps({"settings": {"default": quick}}), encoding="utf-8")
    path.with_suffix(".yaml").write_text(yaml.safe_dump(description(clip.absolute(), v), sort_keys=False))
    config = json.loads(clip_tokenizer_files()["config.json"])
    first = model.text_encoder.config
    config |= {key: getattr(first, key) for key in config if hasattr(first, key) and key != "architectures"}
    for target in (clip, parts / "tokenizer", parts / "tokenizer_2"):
        target.mkdir(parents=True, exist_ok=True)
        for file, text in clip_tokenizer_files().items():
            pad = '"pad_token": "<|endoftext|>"'
            other = text.replace(pad, '"pad_token": "!"') if target.name == "tokenizer_2" else text
            (target / file).write_text(json.dumps(config) if file == "config.json" else other, encoding="utf-8")
    for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
        getattr(model, part).config.save_pretrained(parts / part) if part.startswith("text") else getattr(
            model, part
        ).save_config(parts / part)
    scheduler = {
        "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "prediction_type": "epsilon",
        "timestep_spacing": "leading", "steps_offset": 1,
    }  # fmt: skip
    libraries = {
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    depths = [0] * BLOCKS + [DEPTHS[1]] * BLOCKS + [DEPTHS[2]] * BLOCKS
    told = {
        "family": "SDXL",
        "unet": {
            "model_channels": WIDTHS[0],
            "transformer_depth": depths,
            "context_dim": FIRST + SECOND,
            "adm_in_channels": POOLED + 6 * SIZE_WIDTH,
        },
    }
    (parts / "scheduler").mkdir(exist_ok=True)
    (parts / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (parts / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline", **libraries}))
    (parts / "forge.json").write_text(json.dumps(told))
    return path


def write_lora(folder: Path) -> Path:
    """small-xl-lora.safetensors with random weights, for both text encoders and the U-Net, named as trainers do."""
    from safetensors.torch import save_file

    places = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k": (WIDTHS[1], FIRST + SECOND),
        "lora_unet_output_blocks_4_1_transformer_blocks_1_attn1_to_q": (WIDTHS[1], WIDTHS[1]),
        "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": (FIRST, FIRST),
        "lora_te2_text_model_encoder_layers_0_mlp_fc1": (4 * SECOND, SECOND),
    }
    weights, rank, generator = {}, 4, torch.Generator().manual_seed(6)
    for name, (out, given) in places.items():
        weights[f"{name}.lora_up.weight"] = torch.randn(out, rank, generator=generator) * 0.3
        weights[f"{name}.lora_down.weight"] = torch.randn(rank, given, generator=generator) * 0.3
        weights[f"{name}.alpha"] = torch.tensor(float(rank))
    folder.mkdir(exist_ok=True)
    path = folder / "small-xl-lora.safetensors"
    save_file(weights, str(path), metadata={"ss_base_model_version": "sdxl_base_v1-0"})
    return path


def description(clip: Path, v: bool) -> dict[str, Any]:
    """What A1111 reads beside the checkpoint: the configuration of SDXL in these sizes."""

    def part(target: str, **parameters: Any) -> dict[str, Any]:
        return {"target": f"sgm.{target}", **({"params": parameters} if parameters else {})}

    def embedder(key: str, target: str, **parameters: Any) -> dict[str, Any]:
        inner = part(f"modules.encoders.modules.{target}", **parameters)
        return {"is_trainable": False, "input_key": key, **inner}

    denoiser, kind = "modules.diffusionmodules", "V" if v else "Eps"
    sizes = ("original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple")
    first = {"layer": "hidden", "layer_idx": FIRST_LAYERS - 1, "version": str(clip)}
    second = {"arch": OPEN_CLIP, "version": "none", "freeze": True, "layer": "penultimate", "legacy": False}
    return {
        "model": part(
            "models.diffusion.DiffusionEngine",
            scale_factor=XL_SCALE,
            disable_first_stage_autocast=True,
            denoiser_config=part(
                f"{denoiser}.denoiser.DiscreteDenoiser",
                num_idx=1000,
                weighting_config=part(f"{denoiser}.denoiser_weighting.{kind}Weighting"),
                scaling_config=part(f"{denoiser}.denoiser_scaling.{kind}Scaling"),
                discretization_config=part(f"{denoiser}.discretizer.LegacyDDPMDiscretization"),
            ),
            network_config=part(
                f"{denoiser}.openaimodel.UNetModel",
                adm_in_channels=POOLED + 6 * SIZE_WIDTH,
                num_classes="sequential",
                use_checkpoint=False,
                in_channels=4,
                out_channels=4,
                model_channels=WIDTHS[0],
                attention_resolutions=[4, 2],
                num_res_blocks=BLOCKS,
                channel_mult=[width // WIDTHS[0] for width in WIDTHS],
                num_head_channels=64,
                use_spatial_transformer=True,
                use_linear_in_transformer=True,
                transformer_depth=list(DEPTHS),
                context_dim=FIRST + SECOND,
                spatial_transformer_attn_type="softmax-xformers",
                legacy=False,
            ),
            conditioner_config=part(
                "modules.GeneralConditioner",
                emb_models=[
                    embedder("txt", "FrozenCLIPEmbedder", **first),
                    embedder("txt", "FrozenOpenCLIPEmbedder2", always_return_pooled=True, **second),
                    *(embedder(key, "ConcatTimestepEmbedderND", outdim=SIZE_WIDTH) for key in sizes),
                ],
            ),
            first_stage_config=part(
                "models.autoencoder.AutoencoderKLInferenceWrapper",
                embed_dim=4,
                monitor="val/rec_loss",
                ddconfig={
                    "attn_type": "vanilla-xformers", "double_z": True, "z_channels": 4, "resolution": 256,
                    "in_channels": 3, "out_ch": 3, "ch": VAE_WIDTH, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1,
                    "attn_resolutions": [], "dropout": 0.0,
                },
                lossconfig={"target": "torch.nn.Identity"},
            ),
        )
    }  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--v", action="store_true", help="v prediction, zero terminal SNR")
    given = parser.parse_args()
    print(write(given.folder, given.v), write_lora(given.folder.parent / "Lora"))
