"""Stand-ins for A1111 and Forge around real ldm modules: as thin as can be, with the hosts' names and signatures.

SDXL is there, too. What sgm has more than ldm (transformers of several blocks, a vector beside the tokens) is added.
"""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
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
        return {"crossattn": found.tokens, "vector": torch.cat([found.fixed["text_embeds"], sizes], 1)}

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


class ForgeUNet(nn.Module):
    """ldm's U-Net as Forge has it: in-place residuals, weights made in inference mode, a dict that is written into."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        for name, part in unet.named_children():
            setattr(self, name, part)
        object.__setattr__(self, "inner", unet)
        for module in unet.modules():
            if type(module).__name__ == "BasicTransformerBlock":
                module.__class__ = type("BasicTransformerBlock", (type(module),), {"_forward": _in_place})
        with torch.inference_mode():
            for module in unet.modules():
                for name, parameter in module._parameters.items():
                    if parameter is not None:
                        module._parameters[name] = nn.Parameter(parameter.clone())

    def forward(
        self, x: Any, timesteps: Any, context: Any = None, y: Any = None, transformer_options: Any = None
    ) -> Any:
        if transformer_options is not None:
            assert "original_shape" not in transformer_options  # a dict of the caller's own, and fresh
            transformer_options["original_shape"] = list(x.shape)
        return self.inner(x, timesteps, context=context, y=y)


def _in_place(self: Any, x: Any, context: Any = None) -> Any:
    x += self.attn1(self.norm1(x))
    x += self.attn2(self.norm2(x), context=context)
    x += self.ff(self.norm3(x))
    return x


class ForgeAutoencoder(nn.Module):
    """Forge's autoencoder over ldm's parts. It samples, and the newer ones cannot be asked for anything else."""

    def __init__(self, model: LatentDiffusion) -> None:
        super().__init__()
        for name, part in model.first_stage_model.named_children():
            setattr(self, name, part)
        self.scale = model.scale_factor

    def encode(self, x: Any) -> Any:
        from ldm.modules.distributions.distributions import DiagonalGaussianDistribution

        return DiagonalGaussianDistribution(self.quant_conv(self.encoder(x))).sample()

    def process_in(self, z: Any) -> Any:
        return z * self.scale

    def process_out(self, z: Any) -> Any:
        return z / self.scale


class ForgeVAE:
    """tiles: how many overlapping parts the picture is encoded in, where memory is short."""

    def __init__(self, model: LatentDiffusion) -> None:
        self.model, self.vae_dtype, self.tiles = model, torch.float32, 1
        self.first_stage_model = ForgeAutoencoder(model)

    @torch.inference_mode()
    def encode(self, pixels: Any) -> Any:
        pixels = pixels.movedim(-1, 1) * 2 - 1
        return sum(self.first_stage_model.encode(pixels) for _ in range(self.tiles)) / self.tiles

    def decode(self, z: Any) -> Any:
        image = self.model.decode_first_stage(z * self.model.scale_factor)
        return ((image + 1) / 2).clamp(0, 1).movedim(1, -1)


class Objects(SimpleNamespace):
    def shallow_copy(self) -> Objects:
        return Objects(**vars(self))


def forge_engine(model: LatentDiffusion) -> Any:
    """The engine that Forge keeps in `shared.sd_model`."""
    with torch.inference_mode():
        alphas = model.alphas_cumprod.clone()
    predicts = "v_prediction" if model.parameterization == "v" else "epsilon"
    kmodel = SimpleNamespace(
        diffusion_model=ForgeUNet(model.model.diffusion_model),
        storage_dtype=torch.float32,
        computation_dtype=torch.float32,
        predictor=SimpleNamespace(alphas_cumprod=alphas, prediction_type=predicts),
        memory_required=lambda shape: 1000.0 * shape[0] * shape[2] * shape[3],
    )
    objects = Objects(
        unet=SimpleNamespace(model=kmodel, load_device=torch.device("cpu")), vae=ForgeVAE(model), clip=object()
    )

    @torch.inference_mode()
    def get_learned_conditioning(texts: list[str]) -> Any:
        found = model.get_learned_conditioning(texts)
        return {n: t.clone() for n, t in found.items()} if isinstance(found, dict) else found.clone()

    encoders = getattr(getattr(model, "conditioner", None), "embedders", None)
    engines = {"text_processing_engine": model.cond_stage_model}
    if encoders:
        engines = {"text_processing_engine_l": encoders[0], "text_processing_engine_g": encoders[1]}

    def set_clip_skip(skip: int) -> None:
        for one in engines.values():
            one.clip_skip = skip

    return SimpleNamespace(
        **engines,
        forge_objects=objects,
        forge_objects_original=objects.shallow_copy(),
        forge_objects_after_applying_lora=objects.shallow_copy(),
        set_clip_skip=set_clip_skip,
        get_learned_conditioning=get_learned_conditioning,
        filename=model.filename,
        is_sd1=model.is_sd1,
        is_sdxl=model.is_sdxl,
        is_inpaint=False,
        model_config=SimpleNamespace(ztsnr=False),
    )


def install_forge(monkeypatch: Any, engine: Any, folder: Path) -> SimpleNamespace:
    """`modules`, `backend` and `modules_forge` as Forge has them, as far as the adapter uses them."""
    log = install_webui(monkeypatch, engine, folder)
    log.loads, log.threads = [], []
    model_data = SimpleNamespace(sd_model=engine, forge_hash="hash")
    install(
        monkeypatch, "modules.sd_models", model_data=model_data, forge_model_reload=lambda: (model_data.sd_model, False)
    )

    def load_models_gpu(models: list[Any], memory_required: float = 0, hard_memory_preservation: float = 0) -> None:
        log.loads.append(memory_required)

    install(monkeypatch, "backend.memory_management", load_models_gpu=load_models_gpu, soft_empty_cache=lambda: None)
    install(monkeypatch, "backend.attention", attention_pytorch="differentiable")
    log.unet_module = install(monkeypatch, "backend.nn.unet", attention_function="chunked")
    log.operations = install(monkeypatch, "backend.operations", merge_lora_to_weight="merge")

    def run_and_wait_result(function: Callable, *args: Any, **kwargs: Any) -> Any:
        result = []

        def run() -> None:
            log.threads.append(threading.current_thread().name)
            result.append(function(*args, **kwargs))

        thread = threading.Thread(target=run, name="forge main")
        thread.start()
        thread.join()
        return result[0] if result else None

    install(monkeypatch, "modules_forge.main_thread", run_and_wait_result=run_and_wait_result)
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
