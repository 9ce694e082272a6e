"""Forge and its descendants with a `backend` package: inference-mode weights, in-place residuals, one main thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ...sdk.errors import ModelError
from ...sdk.model.base import Conditioning, DiffusionModel, LatentDistribution, PredictionType
from ...sdk.model.recommended import read_recommended
from .layout import original_layout
from .leftovers import check_layers, without_leftovers
from .preparation import (
    frozen,
    gradients_allowed,
    normal_tensors,
    posterior_read,
    residuals_kept,
    spread,
    swapped,
)
from .webui import (
    SUPPORTED,
    VECTOR,
    LentModel,
    WebUI,
    active_networks,
    conditioning_of,
    file_version,
    native_resolution,
    network_facts,
    prompt_at,
    schedule,
    setting_facts,
)

T = TypeVar("T")
GRAPH_FACTOR = 4  # memory of a forward with its graph over that of one without, generously


class ForgeModel(LentModel):
    """The SDK's view of a Forge engine. Nothing is copied; the U-Net is called directly, past sampling patches.

    engine: `shared.sd_model`; load: puts the U-Net on its device and makes it fit for gradients again, given the bytes
    that its graph will need; text, negative: as for `LdmModel`.
    """

    def __init__(
        self,
        engine: Any,
        *,
        load: Callable[[float], None],
        fingerprint: str,
        name: str,
        text: str,
        negative: Callable[[str], str],
    ) -> None:
        self._engine, self._load, self._text, self._negative = engine, load, text, negative
        self._ready_for = 0.0
        objects = engine.forge_objects
        self._kmodel = objects.unet.model
        self.unet: nn.Module = self._kmodel.diffusion_model
        self.layout = original_layout(self.unet)
        self.device = objects.unet.load_device
        self.dtype = self._kmodel.computation_dtype
        predictor = self._kmodel.predictor
        self.prediction_type: PredictionType = (
            "v_prediction" if predictor.prediction_type == "v_prediction" else "epsilon"
        )
        told = getattr(engine, "model_config", None)  # what the host found in the file
        self.alphas_cumprod = schedule(predictor.alphas_cumprod, self.prediction_type, told)
        self.native_resolution = native_resolution(engine, self.prediction_type)
        self.fingerprint, self.name = fingerprint, name

    def free_memory(self) -> int | None:
        free, others = super().free_memory(), 0
        if free is None or self.device.type == "cpu":
            return free
        # The host moves its other networks off the card for whoever needs the room.
        from backend import memory_management

        for loaded in memory_management.current_loaded_models:
            module = getattr(loaded.model, "model", None)
            if isinstance(module, nn.Module) and module is not self._kmodel:
                weights = [weight for weight in module.parameters() if weight.device.type == self.device.type]
                others += sum(weight.numel() * weight.element_size() for weight in weights)
        return free + others

    def predict(self, latent: Tensor, timestep: int | Tensor, conditioning: Conditioning) -> Tensor:
        needed = GRAPH_FACTOR * float(self._kmodel.memory_required(list(latent.shape)))
        if needed > self._ready_for:
            # The autoencoder and the text encoder may have pushed the U-Net off the device since the last call.
            self._load(needed)
            self._ready_for = needed
        count = latent.shape[0]
        if isinstance(timestep, Tensor):
            timesteps = timestep.to(self.device, torch.float32)
        else:
            timesteps = torch.full((count,), float(timestep), device=self.device)
        told = {"context": conditioning.tokens.to(self.device, self.dtype)}
        if VECTOR in conditioning.fixed:
            told["y"] = conditioning.fixed[VECTOR].to(self.device, self.dtype)
        # A dict of our own: the U-Net writes into it, and its default is shared by everybody.
        return self.unet(latent.to(self.device, self.dtype), timesteps, **told, transformer_options={}).float()

    def _encoded(self, text: str, told: Any) -> Conditioning:
        from modules import shared

        engine = self._engine
        processors = text_processors(engine)
        before = [processor.clip_skip for processor in processors]
        try:
            engine.set_clip_skip(int(shared.opts.CLIP_stop_at_last_layers))
            encoded = engine.get_learned_conditioning(told)
        finally:
            for processor, skip in zip(processors, before):
                processor.clip_skip = skip
            self._ready_for = 0.0
        first = processors[0]  # all of them cut a prompt at the same places
        chunks, _ = first.tokenize_line(text)
        return conditioning_of(encoded, [chunk.tokens for chunk in chunks], first.id_end, self.device)

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> LatentDistribution:
        vae = self._engine.forge_objects.vae
        first = vae.first_stage_model
        # Models of Neo ignore any wish for the mean, so the last layer before the posterior is where it is read.
        last = first.encoder if first.quant_conv is None else first.quant_conv
        with posterior_read(last) as moments:
            try:
                # The host's entry, which falls back to tiles; it wants the channels last and [0, 1].
                encoded = vae.encode(image.movedim(1, -1) * 0.5 + 0.5)
            finally:
                self._ready_for = 0.0
        # Tiles overlap and are blended by the host; their spread cannot be put together.
        whole = len(moments) == 1 and moments[0].shape[2:] == encoded.shape[2:]
        mean, log_variance = moments[0].float().chunk(2, dim=1) if whole else (encoded.float(), None)
        mean = first.process_in(finite(mean)).to(self.device).clone()
        if log_variance is None:
            return LatentDistribution(mean, torch.zeros_like(mean))
        std = spread(log_variance)
        unit = first.process_in(torch.ones(())) - first.process_in(torch.zeros(()))  # the scale without the shift
        return LatentDistribution(mean, std.to(mean) * float(unit))

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        vae = self._engine.forge_objects.vae
        try:
            decoded = vae.decode(vae.first_stage_model.process_out(latent.to(self.device)))
        finally:
            self._ready_for = 0.0
        return finite(decoded).movedim(-1, 1).to(self.device).float().clamp(0, 1).clone()


class Forge(WebUI):
    """Forge (June 2025) and descendants that kept its `backend`."""

    name = "Forge"

    def call(self, function: Callable[[], T]) -> T:
        from modules_forge import main_thread

        if threading.current_thread() is threading.main_thread():
            return function()
        outcome: list[Any] = []

        def run() -> None:
            # What is raised in the main thread would be lost.
            try:
                outcome.append((True, function()))
            except BaseException as error:
                outcome.append((False, error))

        main_thread.run_and_wait_result(run)
        good, value = outcome[0]
        if not good:
            raise value
        return value

    @contextmanager
    def lend(self, prompt: str, strength: float) -> Iterator[DiffusionModel]:
        from backend import attention, memory_management
        from backend.nn import unet as unet_module

        with ExitStack() as stack:
            stack.enter_context(gradients_allowed())
            engine = _selected_engine()
            check_supported(engine)
            stack.enter_context(_own_objects(engine))
            text = prompt_at(stack.enter_context(active_networks(prompt)), strength)
            engine.forge_objects = engine.forge_objects_after_applying_lora.shallow_copy()
            patcher = engine.forge_objects.unet
            module = patcher.model.diffusion_model
            # Chunked attention and some of xformers have no backward. The U-Net's module has the name to itself.
            stack.enter_context(swapped(unet_module, "attention_function", attention.attention_pytorch))
            stack.enter_context(_differentiable_online_lora())
            check_layers(module)
            stack.enter_context(without_leftovers(module, engine.forge_objects.vae.first_stage_model))
            stack.enter_context(residuals_kept(module))
            thaw = stack.enter_context(ExitStack())

            def load(needed: float) -> None:
                thaw.close()
                memory_management.load_models_gpu([patcher], memory_required=needed)
                normal_tensors(module)
                thaw.enter_context(frozen(module))

            stack.callback(memory_management.soft_empty_cache)
            stack.enter_context(self._lending(engine))
            model = ForgeModel(
                engine,
                load=load,
                fingerprint=_fingerprint(engine, patcher, text),
                name=Path(engine.filename).stem,
                text=text,
                negative=partial(prompt_at, strength=strength),
            )
            model.recommended = read_recommended(Path(engine.filename))
            yield model


def finite(made: Tensor) -> Tensor:
    """What an autoencoder made. Raises ModelError where it overflowed, as SDXL's does in float16."""
    if not bool(made.isfinite().all()):
        raise ModelError("The autoencoder overflows in half precision; start the WebUI with --vae-in-fp32.")
    return made


def text_processors(engine: Any) -> list[Any]:
    """One per text encoder that the engine reads prompts with, in their order."""
    names = ("text_processing_engine", "text_processing_engine_l", "text_processing_engine_g")
    return [getattr(engine, name) for name in names if getattr(engine, name, None) is not None]


def check_supported(engine: Any) -> None:
    """Raise ModelError, with a sentence, for what cannot be dragged on. Descendants lack some of the flags."""
    xl = getattr(engine, "is_sdxl", False)
    if not (xl or getattr(engine, "is_sd1", False) or getattr(engine, "is_sd2", False)):
        raise ModelError(f"The loaded checkpoint is SD3, Flux or another new kind. {SUPPORTED}.")
    if xl and len(text_processors(engine)) < 2:
        raise ModelError(f"The loaded checkpoint is an SDXL refiner. {SUPPORTED}.")
    if getattr(engine, "is_inpaint", False):
        raise ModelError(f"The loaded checkpoint is an inpainting model. {SUPPORTED}.")
    predictor = engine.forge_objects.unet.model.predictor
    if not hasattr(predictor, "alphas_cumprod") or predictor.prediction_type not in ("epsilon", "v_prediction"):
        raise ModelError(f"The loaded checkpoint predicts neither noise nor v. {SUPPORTED}.")


def _selected_engine() -> Any:
    """The checkpoint that the user chose; Forge loads it no sooner than it is asked to."""
    from modules import sd_models

    try:
        engine, _ = sd_models.forge_model_reload()
        if engine is None:
            # After a failed load Forge believes that the previous checkpoint is still there.
            sd_models.model_data.forge_hash = ""
            engine, _ = sd_models.forge_model_reload()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"The chosen checkpoint cannot be loaded ({reason}); choose another.") from error
    if getattr(engine, "forge_objects", None) is None:
        raise ModelError("No checkpoint is loaded; choose one at the top of the page.")
    return engine


@contextmanager
def _own_objects(engine: Any) -> Iterator[None]:
    """The bare model in place of whatever the last generation patched (ControlNet, FreeU, token merging)."""
    before = engine.forge_objects
    engine.forge_objects = engine.forge_objects_original.shallow_copy()
    try:
        yield
    finally:
        engine.forge_objects = before


@contextmanager
def _differentiable_online_lora() -> Iterator[None]:
    """LoRAs on low-bit weights are merged in every forward, in inference mode; hand on normal tensors instead."""
    from backend import operations

    merge = getattr(operations, "merge_lora_to_weight", None)
    if merge is None:
        yield
        return

    def merged(*args: Any, **kwargs: Any) -> Tensor:
        return merge(*args, **kwargs).clone()

    with swapped(operations, "merge_lora_to_weight", merged):
        yield


def _fingerprint(engine: Any, patcher: Any, text: str) -> str:
    """Changes with whatever decides the numbers: files, networks, the resolved prompt, precision, clip skip."""
    from modules import shared
    from modules.sd_models import model_data

    path = Path(engine.filename)
    kmodel = patcher.model
    facts = [path, file_version(path), text, *network_facts(), getattr(engine, "current_lora_hash", "")]
    parameters = getattr(model_data, "forge_loading_parameters", None) or {}
    facts += [file_version(Path(extra)) for extra in parameters.get("additional_modules") or ()]
    facts += [model_data.forge_hash, kmodel.storage_dtype, kmodel.computation_dtype]
    facts += [engine.forge_objects.vae.vae_dtype, shared.opts.CLIP_stop_at_last_layers, shared.opts.emphasis]
    facts += setting_facts()
    return " ".join(str(fact) for fact in facts)
