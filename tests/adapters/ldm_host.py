"""Stand-ins for A1111 around real ldm modules, as thin as can be, with the host's names and signatures.

SDXL is there, too; Forge is in `forge_host`. What sgm has more than ldm (transformers of several blocks, a vector
beside the tokens) is added.
"""

from __future__ import annotations

import sys
import threading
import types
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from dragtext.sdk.model.export import describe, to_original_layout
from safetensors.torch import save_file
from torch import nn

from ..tiny import SIZE_WIDTH, xl_original_layout


class LatentDiffusion(nn.Module):
    """ldm's U-Net, encoder, decoder and posterior with what else A1111 reads from `shared.sd_model`."""

    is_sd1, is_sdxl, is_sd3 = True, False, False

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__()
        from ldm.modules.diffusionmodules.model import Decoder, Encoder
        from ldm.modules.diffusionmodules.openaimodel import UNetModel

        path, sizes, vae_sizes = folder / "tiny.safetensors", model.unet.config, model.vae.config
        weights = {name: value.detach().clone().contiguous() for name, value in self.weights(model).items()}
        save_file(weights, path)
        config = describe(
            model,
            list(sizes.block_out_channels),
            sizes.attention_head_dim,
            sizes.cross_attention_dim,
            list(vae_sizes.block_out_channels),
            vae_sizes.layers_per_block,
        )["model"]["params"]
        self.model = nn.Module()
        self.model.conditioning_key = config["conditioning_key"]
        self.model.diffusion_model = self.shaped(UNetModel(**self.shape(config, model)), model).eval()
        first = config["first_stage_config"]["params"]["ddconfig"]
        vae = nn.Module()
        vae.encoder, vae.decoder = Encoder(**first), Decoder(**first)
        vae.quant_conv, vae.post_quant_conv = nn.Conv2d(8, 8, 1), nn.Conv2d(4, 4, 1)
        self.first_stage_model = vae.eval().requires_grad_(False)
        for part, prefix in ((self.model.diffusion_model, "model.diffusion_model."), (vae, "first_stage_model.")):
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            part.load_state_dict(own)
        self.cond_stage_model = TextEncoder(model)
        self.alphas_cumprod = model.alphas_cumprod.float()
        self.parameterization = "v" if model.prediction_type == "v_prediction" else "eps"
        self.scale_factor, self.image_size = model.latent_scale, config["image_size"]
        self.lowvram = False
        self.sd_checkpoint_info = SimpleNamespace(filename=str(path))
        self.filename = str(path)

    def weights(self, model: Any) -> dict[str, Any]:
        return to_original_layout(*(part.state_dict() for part in (model.unet, model.vae, model.text_encoder)))

    def shape(self, config: dict, model: Any) -> dict[str, Any]:
        return config["unet_config"]["params"]

    def shaped(self, unet: nn.Module, model: Any) -> nn.Module:
        return unet

    def apply_model(self, x: Any, t: Any, cond: dict) -> Any:
        context = torch.cat(cond.pop("c_crossattn"), 1)
        return self.model.diffusion_model(x, t, context=context)

    def get_learned_conditioning(self, texts: list[str]) -> Any:
        return self.cond_stage_model.model.encode_text(texts[0]).tokens

    @torch.no_grad()
    def encode_first_stage(self, x: Any) -> Any:
        from ldm.modules.distributions.distributions import DiagonalGaussianDistribution

        vae = self.first_stage_model
        return DiagonalGaussianDistribution(vae.quant_conv(vae.encoder(x)))

    @torch.no_grad()
    def decode_first_stage(self, z: Any) -> Any:
        vae = self.first_stage_model
        return vae.decoder(vae.post_quant_conv(z / self.scale_factor))


class DiffusionEngine(LatentDiffusion):
    """SDXL as sgm has it: a conditioner of several embedders, a vector beside the tokens, a latent that is sampled."""

    is_sd1, is_sdxl, is_sdxl_inpaint = False, True, False

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__(model, folder)
        del self.image_size
        self.conditioner = SimpleNamespace(embedders=[TextEncoder(model), TextEncoder(model), nn.Identity()])

    def weights(self, model: Any) -> dict[str, Any]:
        return xl_original_layout(model)

    def shape(self, config: dict, model: Any) -> dict[str, Any]:
        own = {"num_heads": -1, "num_head_channels": 64, "use_linear_in_transformer": True}
        own["attention_resolutions"] = [2, 4]
        return {**config["unet_config"]["params"], **own}

    def shaped(self, unet: nn.Module, model: Any) -> nn.Module:
        from ldm.modules.attention import BasicTransformerBlock, SpatialTransformer

        def forward(self: Any, x: Any, context: Any = None) -> Any:
            return plain(self, x, [context] * len(self.transformer_blocks))

        plain = SpatialTransformer.forward
        deep = type("SpatialTransformer", (SpatialTransformer,), {"forward": forward})
        names = self.weights(model)
        for name, part in unet.named_modules():
            if isinstance(part, SpatialTransformer):
                part.__class__ = deep
                inner, context = part.in_channels, model.unet.config.cross_attention_dim
                while (
                    f"model.diffusion_model.{name}.transformer_blocks.{len(part.transformer_blocks)}.norm1.bias"
                    in names
                ):
                    part.transformer_blocks.append(
                        BasicTransformerBlock(inner, inner // 64, 64, context_dim=context, checkpoint=False)
                    )
        told, width = model.unet.config.projection_class_embeddings_input_dim, 4 * unet.model_channels
        unet.num_classes = "sequential"
        unet.label_emb = nn.Sequential(nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width)))
        return unet

    def apply_model(self, x: Any, t: Any, cond: dict) -> Any:
        return self.model.diffusion_model(x, t, context=cond.pop("crossattn"), y=cond.pop("vector"))

    def get_learned_conditioning(self, texts: Any) -> Any:
        """The numbers of the diffusers backend, told in the hosts' way: what it embeds in its U-Net comes embedded."""
        from ldm.modules.diffusionmodules.util import timestep_embedding

        size = (getattr(texts, "height", None) or 1024, getattr(texts, "width", None) or 1024)
        found = self.cond_stage_model.model.encode_text(texts[0], size)
        sizes = timestep_embedding(found.fixed["time_ids"].flatten(), SIZE_WIDTH).flatten()[None]
        # What both hosts do, A1111 by the conditioner's force_zero_embeddings.
        kept = not (getattr(texts, "is_negative_prompt", False) and all(text == "" for text in texts))
        vector = torch.cat([kept * found.fixed["text_embeds"], sizes], 1)
        return {"crossattn": kept * found.tokens, "vector": vector}

    def encode_first_stage(self, x: Any) -> Any:
        return self.scale_factor * super().encode_first_stage(x).sample()


class TextEncoder:
    """The hosts' view of CLIP: prompts in chunks of 75 tokens."""

    def __init__(self, model: Any) -> None:
        self.model, self.id_end, self.clip_skip = model, model.tokenizer.eos_token_id, 1

    def tokenize_line(self, text: str) -> tuple[list[Any], int]:
        tokenizer = self.model.tokenizer
        ids = tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
        return [SimpleNamespace(tokens=ids)], len(tokenizer(text, add_special_tokens=False).input_ids)


class SdConditioning(list):
    def __init__(self, prompts: list[str], is_negative_prompt: bool = False, width: Any = None, height: Any = None):
        super().__init__(prompts)
        self.is_negative_prompt, self.width, self.height = is_negative_prompt, width, height


def install(monkeypatch: Any, name: str, **contents: Any) -> types.ModuleType:
    """A module under `name`, and its parents, for the length of a test."""
    parent, _, last = name.rpartition(".")
    module = types.ModuleType(name)
    module.__path__ = []
    module.__dict__.update(contents)
    monkeypatch.setitem(sys.modules, name, module)
    if parent:
        if parent not in sys.modules:
            install(monkeypatch, parent)
        monkeypatch.setattr(sys.modules[parent], last, module, raising=False)
    return module


class State:
    def __init__(self) -> None:
        self.interrupted = self.skipped = self.stopping_generation = False
        self.current_image, self.jobs = None, []

    def begin(self, job: str) -> None:
        self.interrupted = self.skipped = self.stopping_generation = False
        self.jobs.append(job)

    def end(self) -> None:
        self.jobs.append("end")

    def assign_current_image(self, image: Any) -> None:
        self.current_image = image


def install_webui(monkeypatch: Any, sd_model: Any, folder: Path) -> SimpleNamespace:
    """What A1111 and Forge have in common, as `modules`; returns what tests look at."""
    log = SimpleNamespace(networks=[], saved=[], state=State(), tasks=[])
    options = SimpleNamespace(
        samples_save=True,
        outdir_samples="",
        outdir_img2img_samples="out",
        samples_format="png",
        CLIP_stop_at_last_layers=1,
        emphasis="Original",
        dragtext_preview_every=0,
        dragtext_cache_limit_mb=100,
    )
    flags = SimpleNamespace(api=True, api_auth=None, gradio_auth=None, gradio_auth_path=None, lowvram=False)
    install(monkeypatch, "modules")
    install(monkeypatch, "modules.paths_internal", data_path=str(folder))
    log.shared = install(
        monkeypatch, "modules.shared", sd_model=sd_model, opts=options, cmd_opts=flags, state=log.state
    )
    install(
        monkeypatch,
        "modules.progress",
        pending_tasks={},
        add_task_to_queue=lambda id_job: log.tasks.append(("queued", id_job)),
        start_task=lambda id_task: log.tasks.append(("started", id_task)),
        finish_task=lambda id_task: log.tasks.append(("finished", id_task)),
    )
    install(monkeypatch, "modules.call_queue", queue_lock=threading.Lock())

    def parse_prompts(prompts: list[str]) -> tuple[list[str], dict]:
        text, _, network = prompts[0].partition("<lora:")
        return [text.strip()], {"lora": [network.rstrip(">")]} if network else {}

    install(
        monkeypatch,
        "modules.extra_networks",
        parse_prompts=parse_prompts,
        activate=lambda p, data: log.networks.append((tuple(p.all_prompts), dict(data))),
        deactivate=lambda p, data: log.networks.append("off"),
    )
    install(monkeypatch, "modules.processing", StableDiffusionProcessingTxt2Img=SimpleNamespace)

    def schedules(prompts: list[str], steps: int) -> list[list[list[Any]]]:
        first, bar, second = prompts[0].partition("|")  # "from|to" stands for [from:to:0.5]
        return [[[steps // 2, first], [steps, second]] if bar else [[steps, first]]]

    install(
        monkeypatch,
        "modules.prompt_parser",
        get_learned_conditioning_prompt_schedules=schedules,
        SdConditioning=SdConditioning,
    )

    def save_image(image: Any, path: str, basename: str, seed: int, prompt: str, extension: str, **more: Any) -> Any:
        Path(path).mkdir(parents=True, exist_ok=True)
        image.putalpha(254)  # as Forge does, in place
        log.saved.append((path, seed, prompt, extension, more))
        return f"{path}/00000-{seed}.{extension}", None

    install(monkeypatch, "modules.images", save_image=save_image)
    return log


def install_a1111(monkeypatch: Any, sd_model: LatentDiffusion, folder: Path) -> SimpleNamespace:
    """`modules` as A1111 1.10 has it, as far as the adapter uses it."""
    log = install_webui(monkeypatch, sd_model, folder)
    log.reloaded, log.merging, log.optimizations = [], [], []
    model_data = SimpleNamespace(sd_model=sd_model)

    def apply_token_merging(model: Any, ratio: float) -> None:
        model.applied_token_merged_ratio = ratio
        log.merging.append(ratio)

    install(
        monkeypatch,
        "modules.sd_models",
        model_data=model_data,
        reload_model_weights=lambda: log.reloaded.append(True),
        apply_token_merging=apply_token_merging,
        send_model_to_device=lambda model: None,
    )
    install(
        monkeypatch,
        "modules.devices",
        device=torch.device("cpu"),
        dtype_unet=torch.float32,
        dtype_vae=torch.float32,
        autocast=nullcontext,
        without_autocast=nullcontext,
    )
    hijack = SimpleNamespace(circular_enabled=False, apply_optimizations=log.optimizations.append)
    hijack.apply_circular = lambda on: setattr(hijack, "circular_enabled", on)
    hijack.apply_optimizations = lambda option=None: log.optimizations.append(option)
    log.hijack = hijack
    log.sd_hijack = install(monkeypatch, "modules.sd_hijack", model_hijack=hijack, current_optimizer=None)
    log.th = SimpleNamespace()
    install(monkeypatch, "modules.sd_hijack_unet", th=log.th)
    if "ldm" not in sys.modules:
        install(monkeypatch, "ldm")
    install(monkeypatch, "modules.sd_unet", current_unet=None, current_unet_option=None, apply_unet=lambda label: None)
    install(monkeypatch, "modules.sd_vae", loaded_vae_file=None)
    log.model_data = model_data
    return log


@contextmanager
def unchanged(module: nn.Module) -> Any:
    """Bit for bit the same weights, flags, hooks and attributes afterwards."""

    def picture() -> dict[str, Any]:
        facts: dict[str, Any] = {}
        for name, part in module.named_modules():
            facts[f"{name} hooks"] = (len(part._forward_hooks), len(part._forward_pre_hooks), "forward" in vars(part))
            for key, value in [*part._parameters.items(), *part._buffers.items()]:
                if value is not None:
                    facts[f"{name}.{key}"] = (value.requires_grad, value.dtype, value.detach().numpy().tobytes())
                    assert value.grad is None
        return facts

    before = picture()
    yield
    assert picture() == before
