"""What is paid once per picture: its encoding, the identity LoRA, and the inversion.

Every value is kept under a key of everything that it depends on, so that none can be taken for another.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Any

import numpy as np
from torch import Tensor

from .model import cache, identity
from .model.base import Conditioning, DiffusionModel, LatentDistribution
from .model.guidance import Guidance
from .model.means import NONE, Means
from .model.schedule import TimeGrid, invert
from .picture.frame import Frame
from .result import Progress
from .settings import ResolvedSettings

ALGORITHM = 2  # part of every key; to be raised when the same inputs come to give other values
MEMORY = 256 * 2**20  # bytes that a picture's values may take, apart from the latest one; a LoRA of rank 16 takes 13 MB


class Prepared:
    """The values of one picture and prompt, on any number of models, in memory; identity LoRAs on the disk too.

    picture: (H, W, 3) uint8 RGB. Beyond `MEMORY` bytes the least recently used values are forgotten.
    """

    def __init__(self, picture: np.ndarray, prompt: str) -> None:
        self._picture, self._prompt = picture, prompt
        self._digest = _digest(picture)
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def fingerprint(self, model: DiffusionModel) -> str:
        """Changes with the picture, the prompt and the model."""
        return self._key("picture", model, self._digest, self._prompt)

    def text(self, model: DiffusionModel, frame: Frame, traits: tuple = ()) -> Conditioning:
        """The encoded prompt, for a picture of the frame's size. traits: see `Means.traits`."""
        own = [trait for trait in traits if trait[0] == "text"]
        key = self._key("text", model, str(model.device), self._prompt, frame.padded, *own)
        found = self._recall(key)
        return self._keep(key, model.encode_text(self._prompt, frame.padded)) if found is None else found

    def guidance(
        self, model: DiffusionModel, frame: Frame, times: TimeGrid, settings: ResolvedSettings, traits: tuple = ()
    ) -> Guidance | None:
        """None where the settings ask for none. times: of the edit; traits: see `Means.traits`."""
        if not settings.guided:
            return None
        own = [trait for trait in traits if trait[0] == "text"]
        # A host's prompt may say another thing at another level.
        parts = settings.negative_prompt, settings.strength, frame.padded
        key = self._key("negative", model, str(model.device), *parts, *own)
        against = self._recall(key)
        if against is None:
            against = self._keep(key, model.encode_negative(settings.negative_prompt, frame.padded))
        return Guidance.of(settings, times.start, against)

    def latents(self, model: DiffusionModel, frame: Frame, traits: tuple = ()) -> LatentDistribution:
        """What the autoencoder makes of the part of the picture in `frame`. traits: see `Means.traits`."""
        return self._latents(model, frame, self._picture, self._digest, traits)

    def identity(
        self, model: DiffusionModel, frame: Frame, settings: ResolvedSettings, means: Means = NONE
    ) -> Generator[Progress, None, identity.IdentityWeights]:
        """The LoRA from memory, from the disk, or fitted now, with a `Progress` per step; nothing for no steps.

        means: how it is done with less memory; installed already.
        """
        total = settings.lora_steps
        if total == 0:
            return {}
        traits = means.traits(frame.padded, settings)
        stored_key = self._identity_key(model, frame, settings, traits)
        key = cache.make_key(stored_key, str(model.device))
        weights = self._recall(key)
        if weights is not None:
            return weights
        stored = cache.load_tensors(stored_key)
        if stored is not None:
            weights = identity.from_tensors(model, stored, settings.lora_rank)
        if weights is None:
            text, latents = self.text(model, frame, traits), self.latents(model, frame, traits)
            with closing(identity.fit(model, latents, text, settings, means.at_once)) as fitting:
                for done, fitted in enumerate(fitting, start=1):
                    weights = fitted
                    yield Progress("identity", done, total)
            assert weights is not None  # total > 0
            cache.save_tensors(stored_key, identity.to_tensors(weights))
            weights = {path: (down.detach(), up.detach()) for path, (down, up) in weights.items()}
        return self._keep(key, weights)

    def inverted(
        self,
        model: DiffusionModel,
        frame: Frame,
        times: TimeGrid,
        settings: ResolvedSettings,
        picture: np.ndarray | None = None,
        means: Means = NONE,
    ) -> Generator[Progress, None, Tensor]:
        """The latent (1, c, h, w) at the first of `times`, with a `Progress` per level. The LoRA must be in place.

        picture: another one, like this, that begins an edit; prompt and LoRA stay this picture's. means: as for
            `identity`.
        """
        traits = means.traits(frame.padded, settings)
        # Hashing a picture takes longer than anything else here that is done again for every edit.
        begun, digest = (self._picture, self._digest) if picture is None else (picture, _digest(picture))
        guidance = self.guidance(model, frame, times, settings, traits)
        key = self._inverted_key(model, frame, times, settings, guidance, digest, traits)
        inverted = self._recall(key)
        if inverted is None:
            text, latents = self.text(model, frame, traits), self._latents(model, frame, begun, digest, traits)
            with closing(invert(model, times, latents.mean, text, guidance)) as levels:
                for done, latent in enumerate(levels, start=1):
                    inverted = latent
                    yield Progress("invert", done, len(times.timesteps))
            assert inverted is not None  # a grid has at least one timestep
            self._keep(key, inverted)
        return inverted

    def of_original(
        self,
        model: DiffusionModel,
        frame: Frame,
        times: TimeGrid,
        settings: ResolvedSettings,
        facts: tuple,
        make: Callable[[], Any],
    ) -> Any:
        """What a loop computes of the inverted, undragged picture: a tensor, or tuples of what holds some.

        facts: what tells it from others of the kind; features and guidance are told apart here.
        """
        guidance = self.guidance(model, frame, times, settings)
        inverted = self._inverted_key(model, frame, times, settings, guidance, self._digest, ())
        features = () if guidance is None else (guidance.features, settings.negative_prompt)
        key = self._key("original", inverted, settings.feature_block, *features, *facts)
        found = self._recall(key)
        return self._keep(key, make()) if found is None else found

    def _inverted_key(
        self,
        model: DiffusionModel,
        frame: Frame,
        times: TimeGrid,
        settings: ResolvedSettings,
        guidance: Guidance | None,
        digest: str,
        traits: tuple,
    ) -> str:
        away: tuple = ()
        if guidance is not None and guidance.scale != 1:
            away = guidance.scale, guidance.top, settings.negative_prompt
        identity_key = self._identity_key(model, frame, settings, traits)
        return self._key("inverted", str(model.device), times, identity_key, digest, *away)

    def _latents(
        self, model: DiffusionModel, frame: Frame, picture: np.ndarray, digest: str, traits: tuple
    ) -> LatentDistribution:
        tiles = [trait for trait in traits if trait[0] == "tiles"]
        key = self._key("latents", model, str(model.device), digest, frame, *tiles)
        found = self._recall(key)
        if found is None:
            found = self._keep(key, model.encode_image(frame.image_to_model(picture).to(model.device)))
        return found

    def _identity_key(self, model: DiffusionModel, frame: Frame, settings: ResolvedSettings, traits: tuple = ()) -> str:
        training: tuple = ()
        if settings.lora_steps:
            training = (
                settings.lora_steps,
                settings.lora_lr,
                settings.lora_rank,
                settings.lora_batch,
                settings.seed,
                identity.levels(settings),
            )
        return self._key("identity", model, self._digest, frame, self._prompt, training, *traits)

    def _key(self, kind: str, *parts: object) -> str:
        facts = [
            (part.fingerprint, str(part.dtype), part.prediction_type) if isinstance(part, DiffusionModel) else part
            for part in parts
        ]
        return cache.make_key(ALGORITHM, kind, *facts)

    def _recall(self, key: str) -> Any:
        if key in self._kept:
            self._kept.move_to_end(key)
        return self._kept.get(key)

    def _keep(self, key: str, value: Any) -> Any:
        self._kept[key] = value
        excess = sum(map(_bytes, self._kept.values())) - MEMORY
        for old in list(self._kept)[:-1]:
            if excess <= 0:
                break
            excess -= _bytes(self._kept.pop(old))
        return value


def _digest(picture: np.ndarray) -> str:
    return cache.make_key(picture.shape, picture.tobytes())


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    if isinstance(value, tuple):
        return sum(map(_bytes, value))
    return sum(_bytes(part) for part in vars(value).values() if isinstance(part, (Tensor, dict)))
