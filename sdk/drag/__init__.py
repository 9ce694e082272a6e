"""The drag loops. A method is a module here that brings its published `DEFAULTS` and its `steps`.

It may bring `check`, for a model or a setting that it cannot drag with, and `most_steps`, where its settings bound its
updates.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from ..model.base import DiffusionModel
    from ..result import Step
    from ..settings import ResolvedSettings
    from .problem import DragProblem

# The one list of methods; each is the name of its module.
MethodName = Literal["gooddrag", "dragdiffusion", "freedrag", "dragnoise", "warp"]
METHODS: tuple[str, ...] = get_args(MethodName)
LOOPS = METHODS[:-1]  # the published ones, which optimise something


def defaults_of(method: str) -> dict[str, Any]:
    """Published values of the settings that differ between methods (ALGORITHMS section 7).

    Where a user interface and a benchmark script of the same authors differ, the benchmark's, which the published
    numbers come from. A setting left at None takes its method's.
    """
    return _module(method).DEFAULTS


def loop_of(method: str) -> Callable[[DragProblem], Generator[Step, None, None]]:
    """The method's `steps`: a generator that yields every iteration of the drag."""
    return _module(method).steps


def check_edit(settings: ResolvedSettings, model: DiffusionModel) -> None:
    """Raise ModelError where the method cannot drag on this model, InputError for a setting that it cannot heed."""
    check = getattr(_module(settings.method), "check", None)
    if check is not None:
        check(model, settings)


def most_steps(settings: ResolvedSettings) -> int:
    """How many updates the method makes at the most."""
    bound = getattr(_module(settings.method), "most_steps", None)
    return settings.steps if bound is None else min(settings.steps, bound(settings))


def _module(method: str) -> Any:
    # On first use: the modules import torch, which whoever only reads settings need not wait for.
    return import_module(f".{method}", __name__)
