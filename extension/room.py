"""What an edit needs of the host's memory, said before it is asked for: from the model that was lent last."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from typing import Any

import torch

from ..sdk.model.base import DiffusionModel
from ..sdk.model.means import SHARE, Ability, Choice, choose
from ..sdk.model.memory import free_memory
from ..sdk.model.needs import Outline, outline
from ..sdk.picture.placement import frame_of
from ..sdk.settings import Settings
from .pictures import Picture


@dataclass(frozen=True)
class _Model:
    """All that is kept of a model; its weights are the host's."""

    about: Outline
    able: Ability
    device: torch.device
    native: int
    multiple: int
    networks: tuple[weakref.ref[Any], ...]

    @property
    def room(self) -> int | None:
        """Bytes that an edit can have, with what the model has of them now."""
        free = free_memory(self.device)
        if free is None:
            return None
        found = (network() for network in self.networks)
        weights = (weight for network in found if network is not None for weight in network.parameters())
        there = sum(w.numel() * w.element_size() for w in weights if w.device.type == self.device.type)
        return round(SHARE * free) + there


class Room:
    """What is known of the model."""

    def __init__(self) -> None:
        self._known: _Model | None = None
        self._lock = threading.Lock()

    def learn(self, model: DiffusionModel) -> None:
        """Look at a model that is lent."""
        about = outline(model)
        networks = tuple(weakref.ref(network) for network in (model.unet, *model.companions))
        facts = Ability.of(model), model.device, model.native_resolution, model.size_multiple, networks
        with self._lock:
            self._known = None if about is None else _Model(about, *facts)

    def choice(self, picture: Picture, asked: Settings) -> Choice | None:
        """For an edit with a mask; None while nothing is known."""
        with self._lock:
            known = self._known
        if known is None:
            return None
        settings = asked.resolve()
        size = (known.native, known.native)
        if settings.crop == "none":
            size = frame_of(picture.size, settings, (), None, known.native, known.multiple).padded
        return choose(known.about, known.able, known.room, size, settings, masked=True)
