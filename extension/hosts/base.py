"""What the extension needs from the program it runs in: the model, the queue, progress, saving, options, accounts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from ...sdk.model.base import DiffusionModel
from ...sdk.model.recommended import Recommended

T = TypeVar("T")


@dataclass(frozen=True)
class Accounts:
    """Who may use the HTTP API: name -> password, of the page's login and of the API's own. Empty means no such."""

    page: Mapping[str, str]
    api: Mapping[str, str]

    @property
    def required(self) -> bool:
        return bool(self.page or self.api)


@dataclass(frozen=True)
class Notice:
    """What a host's progress bar can show. done, total: units of the running phase; preview: the picture so far."""

    text: str
    done: int
    total: int
    preview: Image.Image | None = None


class Host(ABC):
    """A program with a loaded Stable Diffusion model. Methods may be called from any thread unless they say otherwise.

    name: of the program, for `health` and bug reports. has_public_api: it was started with its HTTP API on. describers:
    the ways in which `describe` can be asked; the page has a text for each.
    """

    name: str
    has_public_api: bool = True
    describers: tuple[str, ...] = ()

    @abstractmethod
    def turn(self, job: str) -> AbstractContextManager[None]:
        """Wait until nothing else uses the model, then hold it; `job` is the id under which the host shows it."""

    def call(self, function: Callable[[], T]) -> T:
        """Run `function` in the thread that the host wants its model to be used from. Inside a `turn` only."""
        return function()

    @abstractmethod
    def lend(self, prompt: str, strength: float) -> AbstractContextManager[DiffusionModel]:
        """Lend the selected checkpoint, prepared for gradients, with the networks that the prompt names.

        Inside a `turn` and `call` only. strength: how far the edit inverts, for prompts that change on the way. At the
        end everything is as it was, whatever happened. Raises ModelError for a model that cannot be dragged on.
        """

    def check(self) -> None:  # noqa: B027 (a host without a model that can go away has nothing to check)
        """Raise ModelError once the model that was lent is no longer the host's. Called between steps."""

    @abstractmethod
    def show(self, notice: Notice) -> None:
        """Show progress in the host's own bar."""

    @abstractmethod
    def interrupted(self) -> bool:
        """The host's own Interrupt or Skip was pressed since the turn began."""

    @property
    def ending(self) -> bool:
        """The host is taking its server down ("Reload UI"), which waits until every open request has its answer."""
        return False

    @abstractmethod
    def save(
        self, picture: Image.Image, infotext: str, records: Mapping[str, str], prompt: str, seed: int, *, png: bool
    ) -> Path | None:
        """Write a picture where and as the host writes its own; None where the user has turned saving off.

        infotext: the settings in the host's text form; records: what else a PNG carries, by key; png: only a PNG will
        do, since other formats cannot hold what belongs to the picture.
        """

    @abstractmethod
    def option(self, name: str) -> Any:
        """The value of one of our options (`options.OPTIONS`)."""

    @abstractmethod
    def accounts(self) -> Accounts:
        """Who may use the API."""

    def describe(self, picture: Image.Image, way: str) -> str:
        """What a picture (RGB) shows, for a prompt. way: one of `describers`. Inside a `turn` and `call` only.

        Raises ModelError where the program has no model for that.
        """
        raise NotImplementedError

    def recommended(self) -> Recommended:
        """The settings that come with the checkpoint that is loaded; empty where none is, or it brings none."""
        return {}

    @property
    def config_folder(self) -> Path | None:
        """Where presets are written; None is the SDK's own place."""
        return None

    @property
    def cache_folder(self) -> Path | None:
        """Where the SDK's cache goes; None is the SDK's own place."""
        return None
