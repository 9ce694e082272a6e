"""What the drag loop needs from a Stable Diffusion model, and no more.

A backend (diffusers here, a WebUI's own modules elsewhere) subclasses `DiffusionModel`. The loop never sees the
backend's classes: it calls these methods and places forward hooks on the modules named in `UNetLayout`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..errors import InputError
from .memory import free_memory
from .transfer import send

PredictionType = Literal["epsilon", "v_prediction"]
Attention = Literal["sdpa", "xformers"]  # how a U-Net computes it
FINEST = 4  # number of a decoder's last stage
# On an H200 torch had allocated 0.65 to 0.75 GiB more than a count of its tensors comes to, whatever the precision.
WORKSPACES = 700 * 2**20
TILE = 512  # side in pixels of what is encoded and decoded at once where memory is short


@dataclass(frozen=True)
class DecoderStage:
    """One of the resolution stages of the U-Net's decoder: four in Stable Diffusion 1.x and 2.x, three in SDXL.

    `outlet` is the module whose output is the stage's feature map (after its upsampler); `modules` are all modules
    of the stage, in which attention layers are looked up. In diffusers both are `up_blocks[i]`; in the original
    layout the outlet is every third of `output_blocks` and the modules are the stage's three blocks.
    """

    outlet: nn.Module
    modules: tuple[nn.Module, ...]


@dataclass(frozen=True)
class UNetLayout:
    """Where the interventions go: the mid block and the decoder stages, coarse to fine.

    encoder: all modules before the mid block that depend on latent, timestep and conditioning only, in order.
    mid: None in compressed models that have no mid block.
    """

    encoder: tuple[nn.Module, ...]
    mid: nn.Module | None
    stages: tuple[DecoderStage, ...]

    def stage(self, number: int) -> DecoderStage:
        """The stage that `feature_block` means. Raises InputError for one that this decoder does not have.

        Numbered from the end: the last is 4, the one before it 3. So a number has the same scale and channels in every
        family: 3 is the first at the latent's own size, 640 channels wide, be it the third of four or the second of
        three.
        """
        index = len(self.stages) - 1 - (FINEST - number)
        if not 0 <= index < len(self.stages):
            least = FINEST + 1 - len(self.stages)
            raise InputError(
                f"`feature_block` is {number}, but this model's decoder has {len(self.stages)} stages, {least} to "
                f"{FINEST}; use one of them."
            )
        return self.stages[index]


@dataclass(frozen=True)
class Conditioning:
    """What a prompt becomes.

    tokens: (n, L, D) float32, what the U-Net's cross-attention reads and what DragText optimises; of several text
        encoders side by side in D.
    content_length: rows [0, content_length) are the start token and the prompt's own tokens, the part that text
        regularisation protects; the end token and the padding after it are free (ALGORITHMS 6.1, "P").
    fixed: name -> (n, ...) float32, what travels along and stays as it is, under the backend's names: nothing in Stable
        Diffusion 1.x and 2.x, the pooled vector and the sizes in SDXL.
    """

    tokens: Tensor
    content_length: int = 0
    fixed: Mapping[str, Tensor] = field(default_factory=dict)

    def with_tokens(self, tokens: Tensor) -> Conditioning:
        """The same prompt with other tokens (n, L, D); what is fixed goes along with each of them."""
        fixed = {name: value.expand(len(tokens), *value.shape[1:]) for name, value in self.fixed.items()}
        return replace(self, tokens=tokens, fixed=fixed)

    def to(self, device: torch.device) -> Conditioning:
        """The same on a device."""
        fixed = {name: value.to(device) for name, value in self.fixed.items()}
        return replace(self, tokens=self.tokens.to(device), fixed=fixed)


@dataclass(frozen=True)
class LatentDistribution:
    """The autoencoder's posterior, already multiplied by the scaling factor. Both (1, c, h, w) float32."""

    mean: Tensor
    std: Tensor

    def sample(self, batch: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw (batch, c, h, w) latents. Noise is drawn on the CPU so that a seed means the same on every device."""
        noise = torch.randn((batch, *self.mean.shape[1:]), generator=generator, dtype=torch.float32, device="cpu")
        return self.mean + self.std * send(noise.to(self.mean.dtype), self.mean.device)


class DiffusionModel(ABC):
    """A latent diffusion model with a U-Net, text encoders and a KL autoencoder of factor 8.

    Attributes:
        unet: the module on which all hooks live; its parameters must not require gradients.
        layout: the places inside `unet` that interventions use.
        device, dtype: where and in which precision the U-Net computes. Latents and conditioning are float32 at the
            interface in both directions; `predict` converts.
        alphas_cumprod: (1000,) float64 on the CPU, the training schedule's cumulative alphas.
        prediction_type: what the U-Net predicts.
        native_resolution: side in pixels of the square pictures that the model was made for.
        size_multiple: image sides must be multiples of this many pixels (8 for diffusers).
        fingerprint: a string that changes when the weights change, not with `dtype`; part of every cache key.
        name: short name for messages and metadata.
        recommended: settings that come with the model, see `recommended.read_recommended`.
        can_rest, can_tile: whether `resting` and `tiled` do anything; hosts see to their memory themselves.
        can_capture: whether `predict` may become a part of a CUDA graph: it only launches work on the device.
    """

    unet: nn.Module
    layout: UNetLayout
    device: torch.device
    dtype: torch.dtype
    alphas_cumprod: Tensor
    prediction_type: PredictionType
    native_resolution: int = 512
    size_multiple: int = 8
    fingerprint: str
    name: str
    recommended: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    can_rest: bool = False
    can_tile: bool = False
    can_capture: bool = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Surrounds every edit and every rendering. For backends whose modules are somebody else's between them."""
        yield

    def computing(self) -> AbstractContextManager[Any]:
        """What surrounds the U-Net's modules within `predict`, for parts of it that a backward pass computes again."""
        return nullcontext()

    @property
    def companions(self) -> tuple[nn.Module, ...]:
        """The autoencoder and the text encoders, as far as they lie on the device beside the U-Net."""
        return ()

    def free_memory(self) -> int | None:
        """Bytes that can be had on the device beside what is in use; None where nobody knows."""
        return free_memory(self.device)

    def kept_beside(self) -> int:
        """Bytes on the device that are neither weights nor what a pass through the U-Net keeps."""
        return WORKSPACES if self.device.type == "cuda" else 0

    def resting(self) -> AbstractContextManager[Any]:
        """Within the block the companions lie beside the device, and only the autoencoder comes to work; `can_rest`."""
        return nullcontext()

    def tiled(self) -> AbstractContextManager[Any]:
        """Within the block pictures larger than a tile are encoded and decoded in tiles; see `can_tile`."""
        return nullcontext()

    @abstractmethod
    def predict(self, latent: Tensor, timestep: int | Tensor, conditioning: Conditioning) -> Tensor:
        """The U-Net's raw output (eps or v), float32, same shape as `latent`.

        latent: (n, c, h, w) float32; timestep: 0..999, one for all or (n,); conditioning: of n items.
        Differentiable in latent and tokens.
        """

    @abstractmethod
    def encode_text(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        """Encode a prompt. A model that reads 75 tokens cuts off the rest, with a warning; "" is allowed.

        size: (height, width) in pixels of the picture that the model sees, for families that are told; None is the
            model's own.
        """

    def encode_negative(self, prompt: str, size: tuple[int, int] | None = None) -> Conditioning:
        """Encode a negative prompt, as `encode_text`; what its family takes for none where it is ""."""
        return self.encode_text(prompt, size)

    @abstractmethod
    def encode_image(self, image: Tensor) -> LatentDistribution:
        """Encode (1, 3, H, W) in [-1, 1]. No gradient. The `mean` is what an edit starts from."""

    @abstractmethod
    def decode(self, latent: Tensor) -> Tensor:
        """Decode (n, c, h, w) into (n, 3, 8h, 8w) float32, clamped to [0, 1]. No gradient."""
