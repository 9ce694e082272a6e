"""A stand-in for Forge around the ldm modules of `ldm_host`, with Forge's names and signatures."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from .ldm_host import LatentDiffusion, install, install_webui


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
