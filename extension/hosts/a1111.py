"""AUTOMATIC1111's WebUI: ldm and sgm modules with hijacked attention, extra networks, medvram, fp8 (A1111 1.10)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...sdk.errors import ModelError
from ...sdk.model.base import Conditioning, DiffusionModel, LatentDistribution, PredictionType
from ...sdk.model.recommended import read_recommended
from .layout import original_layout
from .leftovers import check_layers, without_attributes, without_leftovers
from .preparation import frozen, gradients_allowed, posterior_read, spread
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

HALF_FLOATS = (torch.float16, torch.bfloat16)
# What is called on the model itself; tiled diffusion replaces some of it in the instance.
ENTRIES = ("apply_model", "encode_first_stage", "decode_first_stage")


class LdmModel(LentModel):
    """The SDK's view of an ldm `LatentDiffusion`. Nothing is copied; the host's own modules compute.

    model: `shared.sd_model`; autocast, without_autocast: the host's functions of these names; device, dtype: of the
    U-Net; fingerprint: of everything that decides its output; text: what of the edit's prompt is encoded; negative:
    what of a negative prompt is.
    """

    def __init__(
        self,
        model: Any,
        *,
        device: torch.device,
        dtype: torch.dtype,
        vae_dtype: torch.dtype,
        autocast: Any,
        without_autocast: Any,
        fingerprint: str,
        name: str,
        text: str,
        negative: Callable[[str], str],
    ) -> None:
        self._model = model
        self._autocast, self._without_autocast = autocast, without_autocast
        self._vae_dtype = vae_dtype
        self._text, self._negative = text, negative
        self.unet: nn.Module = model.model.diffusion_model
        self.layout = original_layout(self.unet)
        self.device, self.dtype = device, dtype
        self.prediction_type: PredictionType = "v_prediction" if model.parameterization == "v" else "epsilon"
        # What the last generation made of it (half precision, pure noise at the end) is its own affair.
        alphas = getattr(model, "alphas_cumprod_original", model.alphas_cumprod)
        self.alphas_cumprod = schedule(alphas, self.prediction_type, model)
        self.native_resolution = native_resolution(
            model, self.prediction_type, 8 * int(getattr(model, "image_size", 64))
        )
        self.fingerprint, self.name = fingerprint, name

    def computing(self) -> AbstractContextManager[Any]:
        return self._autocast()

    def predict(self, latent: Tensor, timestep: int | Tensor, conditioning: Conditioning) -> Tensor:
        if isinstance(timestep, Tensor):
            timesteps = timestep.to(self.device)
        else:
            timesteps = torch.full((latent.shape[0],), timestep, dtype=torch.int64, device=self.device)
        # apply_model is the host's one entry that casts, autocasts and moves modules; it writes into the dict.
        with self._autocast():
            return self._model.apply_model(latent.to(self.device), timesteps, self._told(conditioning)).float()

    def _told(self, conditioning: Conditioning) -> dict[str, Any]:
        """What `apply_model` takes beside latent and timestep; a dict of its own for each call."""
        return {"c_crossattn": [conditioning.tokens.to(self.device)], "c_concat": []}

    def _encoder(self) -> Any:
        """What cuts a prompt into chunks."""
        return self._model.cond_stage_model

    def _encoded(self, text: str, told: Any) -> Conditioning:
        encoder = self._encoder()
        with self._autocast():
            encoded = self._model.get_learned_conditioning(told)
        chunks, _ = encoder.tokenize_line(text)
        return conditioning_of(encoded, [chunk.tokens for chunk in chunks], encoder.id_end, self.device)

    def _posterior(self, image: Tensor) -> Tensor:
        """(2, 4, h, w) float32 mean and standard deviation of a picture (1, 3, H, W), without the scale."""
        posterior = self._model.encode_first_stage(image)
        return torch.cat([posterior.mode(), posterior.std]).float()

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> LatentDistribution:
        def encode(dtype: torch.dtype) -> Tensor:
            return self._posterior(image.to(self.device, dtype))

        mean, std = self._finite(encode).chunk(2)
        scale = self._model.scale_factor
        return LatentDistribution(mean * scale, std * scale)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        def decode(dtype: torch.dtype) -> Tensor:
            return self._model.decode_first_stage(latent.to(self.device, dtype)).float()

        return (self._finite(decode) / 2 + 0.5).clamp(0, 1)

    def _finite(self, compute: Any) -> Tensor:
        """`compute` in the autoencoder's precision, or in float32 where that overflows, as the host does it."""
        with self._without_autocast():
            result = compute(self._vae_dtype)
            if self._vae_dtype in HALF_FLOATS and not bool(result.isfinite().all()):
                vae = self._model.first_stage_model
                vae.to(torch.float32)
                try:
                    result = compute(torch.float32)
                finally:
                    vae.to(self._vae_dtype)  # there and back is exact
        return result


class SgmModel(LdmModel):
    """The same over an sgm `DiffusionEngine`, as which the host loads SDXL."""

    def _told(self, conditioning: Conditioning) -> dict[str, Any]:
        vector = conditioning.fixed[VECTOR].to(self.device)
        return {"crossattn": conditioning.tokens.to(self.device), VECTOR: vector}

    def _encoder(self) -> Any:
        return _readers(self._model)[0]  # both cut a prompt at the same places

    def _posterior(self, image: Tensor) -> Tensor:
        # The host's entry hands on a sample.
        with posterior_read(self._model.first_stage_model.quant_conv) as moments:
            self._model.encode_first_stage(image)
        mean, log_variance = moments[-1].float().chunk(2, dim=1)
        return torch.cat([mean, spread(log_variance)])


class A1111(WebUI):
    """`modules` of A1111 1.10 and what is like it."""

    name = "AUTOMATIC1111 WebUI"

    @contextmanager
    def lend(self, prompt: str, strength: float) -> Iterator[DiffusionModel]:
        from modules import devices

        sd_model = _selected_model()
        check_supported(sd_model)
        with ExitStack() as stack:
            # Frozen before anything else: with weights that want gradients, the host's LoRA code damages the model.
            stack.enter_context(gradients_allowed())
            stack.enter_context(frozen(sd_model))
            check_layers(sd_model.model.diffusion_model)
            stack.enter_context(_plain_model(sd_model))
            text = prompt_at(stack.enter_context(active_networks(prompt)), strength)
            stack.enter_context(self._lending(sd_model))
            kind = SgmModel if getattr(sd_model, "is_sdxl", False) else LdmModel
            model = kind(
                sd_model,
                device=devices.device,
                dtype=devices.dtype_unet,
                vae_dtype=devices.dtype_vae,
                autocast=devices.autocast,
                without_autocast=devices.without_autocast,
                fingerprint=_fingerprint(sd_model, text),
                name=Path(sd_model.sd_checkpoint_info.filename).stem,
                text=text,
                negative=partial(prompt_at, strength=strength),
            )
            model.recommended = read_recommended(Path(sd_model.sd_checkpoint_info.filename))
            yield model

    def check(self) -> None:
        from modules import devices

        super().check()
        # "Unload checkpoint" does not wait for the queue.
        if (
            self._lent is not None
            and not self._lent.lowvram
            and next(self._lent.model.parameters()).device.type != devices.device.type
        ):
            raise ModelError("The checkpoint was unloaded while the edit ran; start the edit again.")


def check_supported(sd_model: Any) -> None:
    """Raise ModelError, with a sentence, for what cannot be dragged on."""
    if getattr(sd_model, "is_sd3", False):
        raise ModelError(f"The loaded checkpoint is SD3. {SUPPORTED}.")
    if getattr(sd_model, "is_ssd", False):
        raise ModelError(f"The loaded checkpoint is SSD-1B. {SUPPORTED}.")
    if getattr(sd_model, "is_sdxl", False) and len(_readers(sd_model)) < 2:
        raise ModelError(f"The loaded checkpoint is an SDXL refiner. {SUPPORTED}.")
    special = getattr(getattr(sd_model, "model", None), "conditioning_key", None) != "crossattn"
    if special or getattr(sd_model, "is_sdxl_inpaint", False):
        raise ModelError(f"The loaded checkpoint is an inpainting or other special model. {SUPPORTED}.")
    if sd_model.parameterization not in ("eps", "v"):
        raise ModelError(f"The loaded checkpoint predicts {sd_model.parameterization!r}. {SUPPORTED}.")


def _readers(sd_model: Any) -> list[Any]:
    """Those of an sgm model's embedders that read the prompt: two in SDXL, one in its refiner."""
    embedders = list(getattr(getattr(sd_model, "conditioner", None), "embedders", ()))
    return [embedder for embedder in embedders if hasattr(embedder, "tokenize_line")]


def _selected_model() -> Any:
    """The checkpoint that the user chose, loaded and on its device."""
    from modules import devices, sd_models, shared

    try:
        # The first access waits for the load at start-up; then, at once where nothing changed, the user's choice.
        _ = shared.sd_model
        sd_models.reload_model_weights()
        sd_model = shared.sd_model
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"The chosen checkpoint cannot be loaded ({reason}); choose another.") from error
    if sd_model is None:
        raise ModelError("No checkpoint is loaded; choose one at the top of the page.")
    if getattr(shared.cmd_opts, "lowvram", False) and sd_model.lowvram:
        raise ModelError("--lowvram moves parts of the model away while they are needed; use --medvram instead.")
    stored = {parameter.dtype for parameter in sd_model.model.diffusion_model.parameters()}
    with devices.autocast():
        casts_by_hand = hasattr(torch.nn.Linear, "org_forward")  # the host's replacement for autocast on some devices
    if casts_by_hand and any("float8" in str(dtype) for dtype in stored):
        raise ModelError(
            "FP8 weights cannot be differentiated on this device; turn FP8 off in Settings, Optimizations."
        )
    if not sd_model.lowvram and next(sd_model.model.parameters()).device.type != devices.device.type:
        sd_models.send_model_to_device(sd_model)  # it had been unloaded
    return sd_model


@contextmanager
def _plain_model(sd_model: Any) -> Iterator[None]:
    """Without what generations leave behind on the U-Net and the autoencoder; put back afterwards.

    Token merging changes features, tiling changes borders, another U-Net (TensorRT) has no gradients, and not every
    attention of xformers has a backward.
    """
    from modules import sd_hijack, sd_hijack_unet, sd_models, sd_unet

    hijack = sd_hijack.model_hijack
    with ExitStack() as stack:
        if sd_unet.current_unet is not None:
            option = sd_unet.current_unet_option
            sd_unet.apply_unet("None")
            stack.callback(sd_unet.apply_unet, option.label)
        ratio = getattr(sd_model, "applied_token_merged_ratio", 0)
        if ratio:
            sd_models.apply_token_merging(sd_model, 0)
            stack.callback(sd_models.apply_token_merging, sd_model, ratio)
        if hijack.circular_enabled:
            hijack.apply_circular(False)
            stack.callback(hijack.apply_circular, True)
        attention = sd_hijack.current_optimizer
        if attention is not None and attention.name == "xformers":
            stack.callback(hijack.apply_optimizations, attention.title())
            hijack.apply_optimizations("sdp - scaled dot product")
        stack.enter_context(without_leftovers(sd_model.model, sd_model.first_stage_model))
        stack.enter_context(without_attributes(sd_model, ENTRIES))
        # The U-Net's own concatenation; FreeU puts another in front of it and leaves it switched on.
        stack.enter_context(without_attributes(sd_hijack_unet.th, ("cat",)))
        yield


def _fingerprint(sd_model: Any, text: str) -> str:
    """Changes with whatever decides the numbers: files, networks, resolved prompt, precision, clip skip, emphasis."""
    from modules import devices, sd_vae, shared

    path = Path(sd_model.sd_checkpoint_info.filename)
    vae = sd_vae.loaded_vae_file
    facts = [path, file_version(path), vae, file_version(Path(vae or "")), sd_model.parameterization, text]
    facts += network_facts()
    facts += [devices.dtype_unet, devices.dtype_vae, getattr(devices, "fp8", False)]
    facts += [shared.opts.CLIP_stop_at_last_layers, getattr(shared.opts, "emphasis", ""), *setting_facts()]
    return " ".join(str(fact) for fact in facts)
