"""How alike two pictures look to a network: LPIPS, image fidelity and CLIP's similarity.

The networks' weights are the user's: read from a file that is named, or from where torch and the Hugging Face hub keep
downloads; nothing is fetched.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

from ...errors import InputError, ModelError
from ...model.hub import cache_folder, cached_model

ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's AlexNet, 244 MB; the digits begin its SHA-256
CLIP = "openai/clip-vit-base-patch32"
_SIDE = 224  # pixels, at which both networks look
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pictures
# AlexNet's convolutions: index in torchvision's `features`, stride, padding, whether pooling comes before.
_LAYERS = ((0, 4, 2, False), (3, 1, 2, True), (6, 1, 1, True), (8, 1, 1, False), (10, 1, 1, False))
_SHAPES = ((64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3))
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # LPIPS's, of pictures in [-1, 1]


class PerceptualDistance:
    """LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924), version 0.1 on AlexNet.

    The features of AlexNet's five layers behind their ReLU, of length 1 at each place; squared differences, weighted by
    channel, averaged over the places, summed over the layers. How the channels weigh is read from the authors' package,
    lpips. The computation is ours, since to import that package takes torchvision, whose usual build beside torch's for
    CPUs keeps transformers and diffusers from being imported at all; a test holds it to the package's numbers.

    alexnet: torchvision's weights by their names, `features.0.weight` and so on. name: for what is told.
    """

    def __init__(self, alexnet: Mapping[str, Tensor], name: str, device: str | torch.device = "cpu") -> None:
        self.name, self.device = name, torch.device(device)
        channels_of = torch.load(channel_file(), map_location="cpu", weights_only=True)
        self._layers = []
        for number, (index, stride, padding, pooled) in enumerate(_LAYERS):
            parts = (
                alexnet[f"features.{index}.weight"],
                alexnet[f"features.{index}.bias"],
                channels_of[f"lin{number}.model.1.weight"].flatten(),
            )
            weight, bias, channels = (part.float().to(self.device) for part in parts)
            self._layers.append((weight, bias, channels, stride, padding, pooled))

    @classmethod
    def load(cls, weights: str | Path | None = None, device: str | torch.device = "cpu") -> PerceptualDistance:
        """weights: file of torchvision's AlexNet, `.pth` or `.safetensors`; None looks in torch's cache. Raises
        InputError where it is missing, ModelError for a file that holds something else."""
        path = alexnet_file(weights)
        state = _read(path)
        shapes = {f"features.{index}.weight": shape for (index, *_), shape in zip(_LAYERS, _SHAPES)}
        if any(tuple(getattr(state.get(name), "shape", ())) != shape for name, shape in shapes.items()):
            raise ModelError(f"{path.name} does not hold torchvision's AlexNet; put {ALEXNET} there.")
        digest = hashlib.sha256()
        with path.open("rb") as file:
            for block in iter(lambda: file.read(2**20), b""):
                digest.update(block)
        return cls(state, f"LPIPS 0.1 on AlexNet {digest.hexdigest()[:8]}", device)

    def __call__(self, original: np.ndarray, edited: np.ndarray) -> float:
        """LPIPS of two (H, W, 3) uint8 pictures: 0 for the same, lower is more alike.

        As the drag editing papers take it: both brought to 224 x 224, bilinear without antialiasing, in [-1, 1].
        """
        return self._of(_signed(original), _signed(edited))

    def background(self, original: np.ndarray, edited: np.ndarray, outside: np.ndarray) -> float:
        """LPIPS of what lies outside a mask, everything else grey. outside: (H, W) bool. (DragFlow's IF_bg is one less
        this.)"""
        shown = torch.from_numpy(outside).float()
        return self._of(_signed(original) * shown, _signed(edited) * shown)

    def _of(self, original: Tensor, edited: Tensor) -> float:
        small = nn.functional.interpolate(original, (_SIDE, _SIDE), mode="bilinear")
        other = nn.functional.interpolate(edited, (_SIDE, _SIDE), mode="bilinear")
        return self.of_tensors(small, other)

    @torch.no_grad()
    def of_tensors(self, original: Tensor, edited: Tensor) -> float:
        """The same of (1, 3, h, w) in [-1, 1], as they are."""
        shift, scale = (torch.tensor(values, device=self.device)[:, None, None] for values in (_SHIFT, _SCALE))
        both = (torch.cat([original, edited]).to(self.device) - shift) / scale
        total = 0.0
        for weight, bias, channels, stride, padding, pooled in self._layers:
            if pooled:
                both = nn.functional.max_pool2d(both, 3, 2)
            both = nn.functional.conv2d(both, weight, bias, stride, padding).relu()
            unit = both / (both.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total += float(((unit[0] - unit[1]).square() * channels[:, None, None]).sum(0).mean())
        return total


def channel_file() -> Path:
    """How LPIPS 0.1 weighs AlexNet's channels, in the package of its authors, which is not imported. Raises InputError
    without it."""
    package = find_spec("lpips")
    path = Path((package and package.origin) or "lpips").parent / "weights" / "v0.1" / "alex.pth"
    if not path.is_file():
        raise InputError("LPIPS needs the weights in the package lpips: pip install --no-deps lpips==0.1.4.")
    return path


def alexnet_file(weights: str | Path | None = None) -> Path:
    """The file of AlexNet's weights. Raises InputError with where to put it."""
    cached = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    path = cached if weights is None else Path(weights).expanduser()
    if not path.is_file():
        raise InputError(
            f"LPIPS needs AlexNet's weights, and there is no {path}; put torchvision's {ALEXNET} there (from "
            f"https://download.pytorch.org/models/{ALEXNET}), or name another place of it."
        )
    return path


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ModelError(f"{path.name} cannot be read; put torchvision's {ALEXNET} there.") from error
    return state if isinstance(state, dict) else {}


class ImageSimilarity:
    """Cosine of two pictures' CLIP image embeddings (Radford et al., ICML 2021). name: of the model.

    Published similarities take ViT-B/32 with its own preprocessing: shorter side to 224, bicubic, and the middle of it.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        self.network, self.name = network, name
        self.side: int = getattr(network, "config").image_size  # noqa: B009

    @classmethod
    def load(cls, source: str | Path | None = None, device: str | torch.device = "cpu") -> ImageSimilarity:
        """source: a folder of transformers' CLIP, or its name on the hub if it was downloaded; None is ViT-B/32 from
        the hub's cache. Raises InputError where it is not there, ModelError for what cannot be loaded."""
        from transformers import CLIPVisionModelWithProjection

        folder = clip_folder(source)
        try:
            network = CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever a damaged folder makes transformers raise
            raise ModelError(f"{folder} holds no CLIP that transformers can load; download {CLIP} again.") from error
        name = CLIP if source is None else str(source).rstrip("/").split("/")[-1]
        network.eval().requires_grad_(requires_grad=False)
        return cls(nn.Module.to(network, device), name)

    def __call__(self, original: np.ndarray, edited: np.ndarray) -> float:
        """-1 to 1, 1 for the same; higher is more alike. Pictures: (H, W, 3) uint8."""
        device = next(self.network.parameters()).device
        pictures = torch.stack([self._prepared(picture) for picture in (original, edited)])
        with torch.no_grad():
            found = self.network(pixel_values=pictures.to(device)).image_embeds.float()
        return float(nn.functional.cosine_similarity(found[:1], found[1:])[0])

    def _prepared(self, picture: np.ndarray) -> Tensor:
        """(3, side, side) float32 as CLIP's own preprocessing makes it."""
        height, width = picture.shape[:2]
        scale = self.side / min(height, width)
        size = (max(int(width * scale), self.side), max(int(height * scale), self.side))
        image = Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC)
        left, top = round((size[0] - self.side) / 2), round((size[1] - self.side) / 2)
        middle = np.asarray(image.crop((left, top, left + self.side, top + self.side)), np.float32) / 255
        return torch.from_numpy((middle - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32)).permute(2, 0, 1)


def clip_folder(source: str | Path | None = None) -> Path:
    """The folder of CLIP. Raises InputError with where to put it."""
    path = None if source is None else Path(source).expanduser()
    if path is not None and path.is_dir():
        return path
    if found := cached_model(CLIP if source is None else str(source)):
        return found
    raise InputError(
        f"CLIP's similarity needs {CLIP if source is None else source}, which is no folder and not in the hub's cache "
        f"in {cache_folder()}; download it (`hf download {CLIP}`) or name a folder of it."
    )


def _signed(picture: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 as (1, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
