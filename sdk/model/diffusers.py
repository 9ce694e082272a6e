"""The headless backend: a `DiffusionModel` over diffusers' U-Net and autoencoder and transformers' CLIP."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor, nn

from ..errors import InputError, ModelError
from .base import (
    TILE,
    Attention,
    Conditioning,
    DecoderStage,
    DiffusionModel,
    LatentDistribution,
    PredictionType,
    UNetLayout,
)
from .checkpoint import LATENT_SCALE
from .convolution import convolutions_kept, fast_convolutions
from .prompt import SIZES, TEXT_LENGTH, encode_prompt, encode_prompt_twice
from .schedule import zero_terminal
from .weights import Samples, sample

SUPPORTED = "only Stable Diffusion 1.x, 2.x and SDXL are supported"


class DiffusersModel(DiffusionModel):
    """Stable Diffusion 1.x, 2.x or SDXL from diffusers modules, frozen and in evaluation mode.

    unet: UNet2DConditionModel; vae: AutoencoderKL of factor 8; text_encoder: CLIPTextModel; tokenizer: CLIPTokenizer.
    text_encoder_2, tokenizer_2: SDXL's CLIPTextModelWithProjection and its tokenizer, None in the other families.
    The modules are taken over: moved to `device`, converted, frozen.
    alphas_cumprod: (1000,), as `scaled_linear_alphas` gives them.
    dtype: precision of the U-Net; the text encoders and the autoencoder always compute in float32.
    rests: text encoders and autoencoder are beside the device, as in `resting`, from the beginning and for good.
    samples: of the weights of U-Net, autoencoder and text encoders before they were converted, for the fingerprint;
        None takes them from the modules as they are given.
    """

    # Whose configurations are read, which torch's own types would not let through.
    unet: Any
    vae: Any
    text_encoder: Any
    text_encoder_2: Any
    can_tile = True

    def __init__(
        self,
        unet: Any,
        vae: Any,
        text_encoder: Any,
        tokenizer: Any,
        *,
        alphas_cumprod: Tensor,
        prediction_type: PredictionType,
        name: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        attention: Attention = "sdpa",
        samples: Sequence[Samples] | None = None,
        text_encoder_2: Any = None,
        tokenizer_2: Any = None,
        rests: bool = False,
    ) -> None:
        _check_parts(unet, vae, text_encoder, text_encoder_2)
        if prediction_type not in get_args(PredictionType):
            msg = f"The model predicts {prediction_type!r}; only epsilon and v_prediction are supported."
            raise ModelError(msg)
        # Before any conversion, so that a model has one fingerprint in whatever precision it computes.
        samples = samples or _samples(*networks(unet, vae, text_encoder, text_encoder_2))
        self.device, self.dtype = torch.device(device), dtype
        self.unet = _place(unet, self.device, dtype)
        # Stable Diffusion's autoencoder leaves the range of float16 on some images and then decodes to black.
        # It runs twice per edit, so float32 costs next to nothing.
        beside = torch.device("cpu") if rests else self.device
        self.vae = _place(vae, beside, torch.float32)
        # Runs once per prompt; half precision would round it by as much as a step of the text optimiser.
        self.text_encoder = _place(text_encoder, beside, torch.float32)
        self.text_encoder_2 = None if text_encoder_2 is None else _place(text_encoder_2, beside, torch.float32)
        self.tokenizer, self.tokenizer_2 = tokenizer, tokenizer_2
        self.alphas_cumprod = alphas_cumprod.to("cpu", torch.float64)
        self.prediction_type = prediction_type
        self.latent_scale = float(getattr(vae.config, "scaling_factor", None) or LATENT_SCALE)
        self.native_resolution = 8 * int(getattr(unet.config, "sample_size", None) or 64)
        self.name = name
        encoder = (unet.conv_in, *unet.down_blocks)
        stages = tuple(DecoderStage(block, (block,)) for block in unet.up_blocks)
        self.layout = UNetLayout(encoder, getattr(unet, "mid_block", None), stages)
        set_attention(unet, attention)
        self._convolutions = fast_convolutions(unet)
        self._rests = rests
        self.fingerprint = fingerprint_of(self, samples)

    def predict(self, latent: Tensor, timestep: int | Tensor, conditioning: Conditioning) -> Tensor:
        # Filled on the device: a Python number given to the U-Net would be copied there, and waited for.
        if isinstance(timestep, Tensor):
            timesteps = timestep.to(self.device)
        else:
            timesteps = torch.full((latent.shape[0],), timestep, dtype=torch.int64, device=self.device)
        with self.computing():
            prediction = self.unet(
                latent.to(self.device, self.dtype),
                timesteps,
                encoder_hidden_states=conditioning.tokens.to(self.device, self.dtype),
                added_cond_kwargs={name: value.to(self.device) for name, value in conditioning.fixed.items()},
                return_dict=False,
            )[0]
        return prediction.float()

    @property
    def can_rest(self) -> bool:  # type: ignore[override]
        return self.device.type not in ("cpu", "mps")  # where the machine's memory is another one

    @property
    def can_capture(self) -> bool:  # type: ignore[override]
        return self.device.type == "cuda"

    def kept_beside(self) -> int:
        return super().kept_beside() + convolutions_kept(self.unet)

    def computing(self) -> AbstractContextManager[Any]:
        return self._convolutions

    @property
    def companions(self) -> tuple[nn.Module, ...]:
        return tuple(networks(self.vae, self.text_encoder, self.text_encoder_2))

    @contextmanager
    def resting(self) -> Iterator[None]:
        """The text encoders and the autoencoder are in the machine's memory; the latter comes for its calls."""
        away = torch.device("cpu")
        if self.device == away or self._rests:
            yield
            return
        try:
            self._rests = True
            for part in self.companions:
                part.to(away)
            yield
        finally:
            for part in self.companions:
                part.to(self.device)
            self._rests = False

    @contextmanager
    def _awake(self, part: nn.Module) -> Iterator[None]:
        """A part that rests is on the device within the block."""
        if not self._rests:
            yield
            return
        try:
            part.to(self.device)
            yield
        finally:
            part.to("cpu")

    @contextmanager
    def tiled(self) -> Iterator[None]:
        """diffusers' own tiles, of 512 px, which overlap by a quarter and are blended there.

        Each is normalised by itself, so the picture differs a little from one that is decoded whole.
        """
        wanted = {"use_tiling": True, "tile_sample_min_size": TILE, "tile_latent_min_size": TILE // 8}
        before = {name: getattr(self.vae, name) for name in wanted}
        try:
            for name, value in wanted.items():
                setattr(self.vae, name, value)
            yield
        finally:
            for name, value in before.items():
                setattr(self.vae, name, value)

    @torch.no_grad()
    def encode_text(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        # Encoders that rest compute where they are: SDXL's are more than half as large as its U-Net, and work once.
        side = self.native_resolution
        return self._encoded(prompt, size or (side, side)).to(self.device)

    def encode_negative(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        words = self.encode_text(prompt, size)
        if self.text_encoder_2 is None or prompt:
            return words
        # SDXL takes zeros for no negative prompt, the pooled vector included.
        fixed = {**words.fixed, "text_embeds": torch.zeros_like(words.fixed["text_embeds"])}
        return replace(words, tokens=torch.zeros_like(words.tokens), fixed=fixed)

    def _encoded(self, prompt: str, size: tuple[int, int]) -> Conditioning:
        first = self.text_encoder, self.tokenizer
        if self.text_encoder_2 is None:
            return encode_prompt(*first, prompt)
        return encode_prompt_twice(first, (self.text_encoder_2, self.tokenizer_2), prompt, size)

    @torch.no_grad()
    def encode_image(self, image: Tensor) -> LatentDistribution:
        with self._awake(self.vae):
            posterior = self.vae.encode(image.to(self.device, torch.float32)).latent_dist
        return LatentDistribution(posterior.mean * self.latent_scale, posterior.std * self.latent_scale)

    @torch.no_grad()
    def decode(self, latent: Tensor) -> Tensor:
        latent = latent.to(self.device, torch.float32) / self.latent_scale
        with self._awake(self.vae):
            image = self.vae.decode(latent, return_dict=False)[0]
        return (image / 2 + 0.5).clamp(0, 1)


def scaled_linear_alphas(
    beta_start: float = 0.00085, beta_end: float = 0.012, *, zero_terminal_snr: bool = False
) -> Tensor:
    """(1000,) float64 cumulative alphas of Stable Diffusion's schedule, betas linear in their square roots.

    zero_terminal_snr: down to pure noise, see `zero_terminal`.
    """
    betas = torch.linspace(beta_start**0.5, beta_end**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, dim=0)
    return zero_terminal(alphas) if zero_terminal_snr else alphas


def set_attention(unet: Any, attention: str) -> None:
    """Choose how the U-Net computes attention: torch's scaled_dot_product_attention, or xformers."""
    if attention == "sdpa":
        from diffusers.models.attention_processor import AttnProcessor2_0

        unet.set_attn_processor(AttnProcessor2_0())
    elif attention == "xformers":
        if importlib.util.find_spec("xformers") is None:
            msg = "Attention by xformers needs the xformers package: pip install 'dragtext[xformers]'."
            raise ModelError(msg)
        try:
            unet.enable_xformers_memory_efficient_attention()
        except (ImportError, ValueError, RuntimeError, NotImplementedError) as error:
            msg = f"xformers does not work here ({str(error).splitlines()[0]}); use attention='sdpa'."
            raise ModelError(msg) from error
    else:
        msg = f"`attention` is {attention!r}, but must be 'sdpa' or 'xformers'."
        raise InputError(msg)


def _place(module: nn.Module, device: torch.device, dtype: torch.dtype) -> Any:
    """Move, convert, freeze, and switch to evaluation."""
    # A dtype is passed only where it changes something, since diffusers warns about every cast.
    converted = module.to(device) if next(module.parameters()).dtype == dtype else module.to(device, dtype)
    return converted.eval().requires_grad_(False)


def networks(*parts: Any) -> list[Any]:
    """Those that are there; fingerprints take U-Net, autoencoder and text encoders in this order."""
    return [part for part in parts if part is not None]


def _check_parts(unet: Any, vae: Any, text_encoder: Any, text_encoder_2: Any) -> None:
    """Raise ModelError if the parts are no Stable Diffusion 1.x, 2.x or SDXL."""
    config = unet.config
    more = getattr(config, "addition_embed_type", None), getattr(config, "class_embed_type", None)
    if config.in_channels == 9:
        msg = f"This is an inpainting model; {SUPPORTED}, in their text-to-image form."
    elif config.in_channels != 4 or config.out_channels != 4:
        msg = f"The U-Net has {config.in_channels} channels in, {config.out_channels} out; {SUPPORTED}."
    elif more not in ((None, None), ("text_time", None)):
        msg = f"The U-Net expects more than a prompt (unCLIP or another kind); {SUPPORTED}."
    elif (more[0] == "text_time") != (text_encoder_2 is not None):
        msg = f"The U-Net and the number of text encoders are of different families; {SUPPORTED}, the refiner is not."
    elif problem := _problem_of_text(unet, text_encoder, text_encoder_2):
        msg = problem
    elif vae.config.latent_channels != 4 or len(vae.config.block_out_channels) != 4:
        msg = f"The autoencoder does not make latents of 4 channels at an eighth of the size; {SUPPORTED}."
    else:
        return
    raise ModelError(msg)


def _problem_of_text(unet: Any, text_encoder: Any, text_encoder_2: Any) -> str | None:
    """What does not fit between text encoders and what the U-Net reads of them."""
    encoders = [text_encoder] if text_encoder_2 is None else [text_encoder, text_encoder_2]
    width = sum(encoder.config.hidden_size for encoder in encoders)
    if unet.config.cross_attention_dim != width:
        return f"The U-Net reads text of width {unet.config.cross_attention_dim}, the encoder writes {width}."
    for encoder in encoders:
        if (positions := encoder.config.max_position_embeddings) != TEXT_LENGTH:
            return f"The text encoder has {positions} positions, not {TEXT_LENGTH}."
    if text_encoder_2 is not None:
        given = text_encoder_2.config.projection_dim + SIZES * unet.config.addition_time_embed_dim
        if (read := unet.add_embedding.linear_1.in_features) != given:
            return f"The U-Net reads {read} values beside the tokens, SDXL gives {given}; {SUPPORTED}."
    return None


def _samples(*modules: nn.Module) -> list[Samples]:
    return [{name: sample(weight) for name, weight in module.named_parameters()} for module in modules]


def fingerprint_of(model: DiffusersModel, samples: Sequence[Samples] | None = None) -> str:
    """32 hex digits from up to 64 evenly spaced values of every weight tensor, and what else matters.

    samples: of U-Net, autoencoder and text encoders; None takes them from the modules as they are.

    Taken from the weights as they are stored, so it is the same for the same weights in another file, format, process
    or precision. Training or merging changes practically every value, so samples are enough; an edit of one single
    weight may go unnoticed.
    """
    digest = hashlib.sha256()
    facts = [model.prediction_type, model.latent_scale, model.alphas_cumprod.sum().item()]
    modules = networks(model.unet, model.vae, model.text_encoder, model.text_encoder_2)
    samples = samples or _samples(*modules)
    facts += [
        getattr(model.unet.config, "attention_head_dim", None),
        model.text_encoder.config.num_attention_heads,
    ]
    if model.text_encoder_2 is not None:
        facts.append(model.text_encoder_2.config.num_attention_heads)
    digest.update(json.dumps(facts).encode())
    for module, taken in zip(modules, samples, strict=True):
        # Sorted: a converted file may have stored them in another order.
        weights = sorted(module.named_parameters())
        for _, weight in weights:
            digest.update(str(tuple(weight.shape)).encode())
        digest.update(torch.cat([taken[name] for name, _ in weights]).cpu().numpy().tobytes())
    return digest.hexdigest()[:32]
