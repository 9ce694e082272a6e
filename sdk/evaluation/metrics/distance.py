"""Mean distance, in each of the definitions that are in use; they do not agree, so the name is part of the number.

What is at a handle in the original is looked for in the edited picture, by the cosine similarity of DIFT features
(`dift.py`, `matching.py`); the distance from where it is found to where it should be is what counts. The literature's
models, timestep and block are the same everywhere: Stable Diffusion 2.1, 261, up block 1. All else differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..tasks import Pair
from .case import Case
from .dift import SEED, Recipe
from .matching import FeatureField, closest

Features = Callable[[np.ndarray, str, Recipe, int], FeatureField]  # picture, prompt, recipe, seed
_NEAREST_REACH = 5.0  # pixels


@dataclass(frozen=True)
class Definition:
    """A published mean distance.

    recipe: how features are taken. search: where a handle may be found: anywhere, in the mask, or "near": not farther
    from the handle or from the target than 1 / sqrt(2) of the drag's length, or 5 pixels. relative: the distance is
    taken in shares of the width and the height, times 100, else in pixels. pooled: published tables average over all
    drags of all pictures, else over pictures, each of them the mean over its drags. words: all of it, in a sentence.
    """

    recipe: Recipe
    search: Literal["anywhere", "mask", "near"]
    relative: bool
    pooled: bool
    title: str
    words: str
    source: str


DEFINITIONS: dict[str, Definition] = {
    "md-dragdiffusion": Definition(
        Recipe(ensemble=8, sampled=True, side=None, prompted=True),
        "anywhere",
        relative=False,
        pooled=True,
        title="MD (DragDiffusion)",
        words="Pixels from the target to where the handle's DIFT feature is found in the whole result; eight noisy "
        "samples at the picture's size, its prompt; over all drags of all pictures.",
        source="DragDiffusion (Shi et al., CVPR 2024), run_eval_point_matching.py; also DragText's",
    ),
    "md-geodrag": Definition(
        Recipe(ensemble=6, sampled=True, side=None, prompted=True),
        "anywhere",
        relative=False,
        pooled=True,
        title="MD (GeoDrag)",
        words="As md-dragdiffusion with six samples instead of eight.",
        source="GeoDrag, evaluation/eval.py",
    ),
    "m-md": Definition(
        Recipe(ensemble=8, sampled=True, side=None, prompted=True),
        "mask",
        relative=False,
        pooled=True,
        title="m-MD",
        words="As md-dragdiffusion, looked for inside the mask only.",
        source="DragLoRA (Xia et al., ICML 2025), run_eval_point_matching.py",
    ),
    "md2": Definition(
        Recipe(ensemble=8, sampled=False, side=768, prompted=True),
        "near",
        relative=True,
        pooled=False,
        title="MD2 (RegionDrag)",
        words="Distance in percent of width and height from the target to where the handle's DIFT feature is found in "
        "two discs around handle and target with a radius of 0.71 of the drag; eight noises on the posterior's mean "
        "at 768 x 768, features of the nearest cell, its prompt; per picture.",
        source="RegionDrag (Lu et al., ECCV 2024), region_utils/evaluator.py, times 100 as its tables print it",
    ),
    "md2-unprompted": Definition(
        Recipe(ensemble=8, sampled=False, side=768, prompted=False),
        "near",
        relative=True,
        pooled=False,
        title="MD2 (Inpaint4Drag)",
        words="As md2 with an empty prompt.",
        source="Inpaint4Drag (Lu and Han, ICCV 2025), utils/evaluator.py; also DragFlow's MD2",
    ),
    "md1-dragflow": Definition(
        Recipe(ensemble=8, sampled=True, side=None, prompted=False),
        "mask",
        relative=False,
        pooled=False,
        title="MD1 (DragFlow)",
        words="Pixels from the target to where the handle's DIFT feature is found inside the mask; eight noisy samples "
        "at the picture's size, an empty prompt; per picture. (Published with the centres of regions as handles.)",
        source="DragFlow, evaluation/evaluation_utils.py",
    ),
}


@dataclass(frozen=True)
class Match:
    """Where a handle was found: (x, y) whole pixels of the edited picture, and how far off in the definition's unit."""

    found: tuple[int, int]
    distance: float


def matches(case: Case, name: str, features: Features) -> tuple[Match, ...] | None:
    """Each drag's match by the definition of that name; None where it needs a mask and the case has none.

    features: of a picture; a tool's, or `dift.features` of a model. Handles are rounded to whole pixels. The noise for
    the original is that of `SEED`, for the edited picture that of the seed after it: drawn apart, as published, so that
    a handle of an untouched picture may be found a few pixels off; but anew for each picture, so that a number does not
    depend on which pictures came before it.
    """
    definition = DEFINITIONS[name]
    if definition.search == "mask" and case.mask is None:
        return None
    height, width = size = case.original.shape[0], case.original.shape[1]
    last = np.array((width - 1, height - 1))
    handles = np.clip(np.rint([source for source, _ in case.drags]), 0, last).astype(int)
    before = features(case.original, case.prompt, definition.recipe, SEED)
    after = features(case.edited, case.prompt, definition.recipe, SEED + 1)
    allowed = None
    if definition.search == "mask":
        allowed = [np.asarray(case.mask) > 0] * len(handles)
    elif definition.search == "near":
        allowed = [_near(pair, size) for pair in case.drags]
    found = closest(before, [(row, col) for col, row in handles.tolist()], after, size, allowed)[:, ::-1]
    off = (found - np.array([target for _, target in case.drags])) / ((width, height) if definition.relative else 1)
    distances = np.hypot(*off.T) * (100 if definition.relative else 1)
    return tuple(Match((int(x), int(y)), float(distance)) for (x, y), distance in zip(found, distances))


def mean_distance(case: Case, name: str, features: Features) -> float | None:
    """Mean distance by the definition of that name (`DEFINITIONS` says unit and source; lower is better, 0 is best).

    The mean over the case's drags; for a table of a `pooled` definition weigh each case by its number of drags.
    """
    found = matches(case, name, features)
    return None if found is None else float(np.mean([match.distance for match in found]))


def _near(pair: Pair, size: Sequence[int]) -> np.ndarray:
    """(H, W) bool, the pixels of the two discs around a drag's handle and its target (RegionDrag's `create_mask`)."""
    reach = max(float(np.hypot(*np.subtract(*pair))) / 2**0.5, _NEAREST_REACH)
    y, x = np.mgrid[: size[0], : size[1]]
    discs = [np.hypot(x - place[0], y - place[1]) < reach for place in np.rint(pair)]
    return discs[0] | discs[1]
