"""A diffusers pipeline that somebody else has loaded and goes on using."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError, ModelError
from . import cache
from .diffusers import DiffusersModel, fingerprint_of, networks

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
SUPPORTED = "a StableDiffusionPipeline of 1.x or 2.x or a StableDiffusionXLPipeline is needed"


class PipelineModel(DiffusersModel):
    """The modules of a `StableDiffusionPipeline` or `StableDiffusionXLPipeline`.

    Between two edits it is exactly what it was.

    The U-Net computes on the pipeline's device and in its precision, with the attention and the LoRAs that the pipeline
    has; during an edit its parameters are frozen. Autoencoder and text encoders compute in float32: where the pipeline
    has them in another precision, on copies (0.8 GB for Stable Diffusion 1.5, 3.6 GB for SDXL).

    Raises InputError for a state of the pipeline that does not allow it, with the call that ends it, and ModelError for
    a pipeline of another kind.
    """

    def __init__(self, pipe: Any) -> None:
        names = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
        if any(getattr(pipe, name, None) is None for name in names):
            raise ModelError(
                f"{type(pipe).__name__} lacks a U-Net, autoencoder, text encoder or scheduler; {SUPPORTED}."
            )
        # A compiled module would not notice hooks on what it was made from.
        second = getattr(pipe, "text_encoder_2", None)
        found = networks(pipe.unet, pipe.vae, pipe.text_encoder, second)
        parts = [getattr(part, "_orig_mod", part) for part in found]
        alphas = getattr(pipe.scheduler, "alphas_cumprod", None)
        if not isinstance(alphas, Tensor) or len(alphas) != 1000:
            raise ModelError(f"{type(pipe.scheduler).__name__} has no schedule of 1000 noise levels; {SUPPORTED}.")
        _check_state(*parts)
        self._parts = parts
        unet, vae, text_encoder, *rest = parts
        processors = dict(unet.attn_processors)
        with _lent(parts):
            try:
                super().__init__(
                    unet,
                    _in_float32(vae),
                    _in_float32(text_encoder),
                    pipe.tokenizer,
                    alphas_cumprod=alphas,
                    prediction_type=pipe.scheduler.config.prediction_type,
                    name=PurePath(getattr(pipe.config, "_name_or_path", None) or type(pipe).__name__).name,
                    device=next(unet.parameters()).device,
                    dtype=next(unet.parameters()).dtype,
                    text_encoder_2=_in_float32(rest[0]) if rest else None,
                    tokenizer_2=getattr(pipe, "tokenizer_2", None),
                )
            finally:
                unet.set_attn_processor(processors)
        self.fingerprint = self._fingerprint_now()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Freeze the pipeline's modules, and leave them as they were."""
        _check_state(*self._parts)
        first = next(self.unet.parameters())
        if (first.device, first.dtype) != (self.device, self.dtype):
            raise InputError(
                "The pipeline was moved or converted meanwhile; open the picture again with from_pipeline."
            )
        with _lent(self._parts):
            for part in self._parts:
                part.eval().requires_grad_(False)
            self.fingerprint = self._fingerprint_now()  # a LoRA may have come or gone
            yield

    def _fingerprint_now(self) -> str:
        # What decides a LoRA's part in the numbers and is no parameter.
        adapters = [
            (name, module.scaling, module.active_adapters, module.disable_adapters)
            for part in (self.unet, self.text_encoder, self.text_encoder_2)
            if part is not None
            for name, module in part.named_modules()
            if hasattr(module, "scaling") and hasattr(module, "active_adapters")
        ]
        return cache.make_key(fingerprint_of(self), adapters)


def _check_state(unet: Any, *others: Any) -> None:
    """Raise InputError, with the way out, for what would fail or be silently wrong later."""
    parts = (unet, *others)
    tensors = [tensor for part in parts for tensor in part.parameters()]
    modules = [module for part in parts for module in part.modules()]
    if any(hasattr(module, "_hf_hook") or hasattr(module, "_diffusers_hook") for module in modules):
        problem = "moves or caches its modules by hooks; call pipe.remove_all_hooks() and pipe.to(device)"
    elif len({tensor.device for tensor in tensors}) > 1 or tensors[0].is_meta:
        problem = "has its modules on different devices; call pipe.to(device)"
    elif any(tensor.dtype not in PRECISIONS for tensor in tensors):
        problem = "has quantised weights; load it in float32, float16 or bfloat16"
    elif tensors[0].device.type == "cpu" and next(unet.parameters()).dtype == torch.float16:
        problem = "is in float16 on the CPU, which does not compute everywhere; call pipe.to(torch.float32)"
    elif any(tensor.is_inference() for tensor in tensors):
        problem = "was loaded in torch.inference_mode, so nothing can be optimised through it; load it outside"
    elif getattr(unet.config, "encoder_hid_dim_type", None):
        problem = "has an IP-Adapter; call pipe.unload_ip_adapter()"
    elif any(getattr(module, "fused_projections", False) for module in modules):
        problem = "has fused projections; call pipe.unfuse_qkv_projections()"
    else:
        return
    raise InputError(f"The pipeline {problem}.")


def _in_float32(module: nn.Module) -> nn.Module:
    if all(parameter.dtype == torch.float32 for parameter in module.parameters()):
        return module
    return copy.deepcopy(module).to(torch.float32)


@contextmanager
def _lent(parts: list[Any]) -> Iterator[None]:
    """At the end every parameter wants gradients, and every module trains, if it did so before."""
    wanted = [(tensor, tensor.requires_grad) for part in parts for tensor in part.parameters()]
    trained = [(module, module.training) for part in parts for module in part.modules()]
    try:
        yield
    finally:
        for tensor, flag in wanted:
            tensor.requires_grad_(flag)
        for module, flag in trained:
            module.training = flag
