"""How an edit gets by with the memory there is: by what is chosen before it, and by more where it still runs out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from .model.base import DiffusionModel
from .model.means import NONE, Ability, Means, choose_for, installed, leanest, refuse
from .model.memory import out_of_memory, release
from .result import Progress
from .settings import ResolvedSettings

log = logging.getLogger("dragtext")

T = TypeVar("T")


class Thrift:
    """What one edit does to save memory. Within the block it is done to the model, afterwards the model is what it was.

    means: what is done now; notes: sentences for the user.
    """

    def __init__(self, model: DiffusionModel) -> None:
        self.means = NONE
        self.notes: tuple[str, ...] = ()
        self._model = model
        self._stack = ExitStack()
        self._settings: ResolvedSettings | None = None
        self._size = (0, 0)
        self._keeps = False

    def __enter__(self) -> Thrift:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def traits(self) -> tuple:
        """What of it shows in the numbers."""
        assert self._settings is not None  # it has begun
        return self.means.traits(self._size, self._settings)

    def begin(self, size: tuple[int, int], settings: ResolvedSettings, masked: bool) -> None:
        """Choose by the memory that is free now. Arguments as for `means.phases`; raises NotEnoughMemoryError."""
        self._settings, self._size = settings, size
        choice = choose_for(self._model, size, settings, masked)
        refuse(choice, settings)
        if choice.note and settings.memory == "auto":
            self._say(choice.note)
        self._use(choice.means)

    def keep_numbers(self) -> None:
        """From now on nothing may change that the LoRA depends on; it is fitted."""
        self._keeps = True

    def tried(self, work: Callable[[], Generator[Progress, None, T]]) -> Generator[Progress, None, T]:
        """A phase; where memory runs out it begins once more, in the leanest way."""
        try:
            return (yield from work())
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error) or not self._further():
                raise
        release(self._model.device)  # now that the error is gone, and what it held
        return (yield from work())

    def _further(self) -> bool:
        """Do everything that can be done. Whether that is more than before, and wanted."""
        settings = self._settings
        assert settings is not None  # it has begun
        wanted = leanest(Ability.of(self._model), settings)
        if self._keeps:
            wanted = replace(wanted, at_once=self.means.at_once)
        if settings.memory != "auto" or wanted == self.means:
            return False
        self._use(wanted)
        self._say(f"Memory ran out, so what was left was done in the leanest way: {wanted.words()}.")
        return True

    def _use(self, means: Means) -> None:
        self._stack.close()
        self.means = means
        self._stack.enter_context(installed(self._model, means))

    def _say(self, note: str) -> None:
        self.notes = (*self.notes, note)
        log.warning(note)
