"""The table of measures, and the one function that computes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

from ...errors import InputError
from .case import Case
from .change import (
    dragging_accuracy,
    dragging_accuracy_as_published,
    mean_change,
    psnr,
    share_changed,
    squared_change,
    structural_similarity,
)
from .distance import DEFINITIONS, mean_distance
from .tools import Need, Tools
from .truth import fact, truth_psnr, way

Direction = Literal["lower", "higher", "one"]
DAI_RADII = (1, 5, 10, 20)  # pixels, as GoodDrag's tables have them

_GOODDRAG = "GoodDrag (Zhang et al., ICLR 2025)"
_PUBLISHED_LPIPS = "LPIPS 0.1 (Zhang et al., CVPR 2018) as DragDiffusion's run_eval_similarity.py takes it"
_DRAG_BACK = "DragLoRA (Xia et al., ICML 2025), its drag-back pipeline"
_PIXELS = "plain pixels"
_SCENES = "this project's scenes, sdk/evaluation/movement.py"


@dataclass(frozen=True)
class Metric:
    """A measure.

    name: what callers ask for; title: for tables; unit: "" for a plain number. direction: what is better: lower,
    higher, or the nearer to one; None where none is. definition: in a sentence; source: where it is from. needs: what
    of `Tools` it takes. pooled: published tables average over drags, so weigh each case by its number of drags.
    compute: the value, None where it does not apply to a case.
    """

    name: str
    title: str
    unit: str
    direction: Direction | None
    definition: str
    source: str
    compute: Callable[[Case, Tools], float | None]
    needs: Need | None = None
    pooled: bool = False


def measure_edit(case: Case, names: Sequence[str], tools: Tools) -> dict[str, float]:
    """The measures of those names for one edit, in that order; one that does not apply to the case (it has no mask, no
    known truth, is of another kind) is absent.

    Raises InputError for an unknown name or a case that cannot be measured, and InputError or ModelError where a
    network that a measure needs cannot be loaded (`available` says so beforehand).
    """
    chosen = [metric_of(name) for name in names]
    case = case.checked()
    values = {metric.name: metric.compute(case, tools) for metric in chosen}
    return {name: value for name, value in values.items() if value is not None}


def available(tools: Tools) -> dict[str, str | None]:
    """Every measure's name: None where it can be computed here, else a sentence that says what to do. Loads nothing."""
    needs: set[Need] = {metric.needs for metric in METRICS.values() if metric.needs is not None}
    reasons = {need: tools.why_not(need) for need in needs}
    return {name: reasons[metric.needs] if metric.needs else None for name, metric in METRICS.items()}


def metric_of(name: str) -> Metric:
    """The measure of that name. Raises InputError for one that there is not."""
    if name not in METRICS:
        raise InputError(f"There is no measure {name!r}; choose among {', '.join(METRICS)}.")
    return METRICS[name]


def _distances() -> Iterator[Metric]:
    for name, known in DEFINITIONS.items():
        unit = "% of the sides" if known.relative else "px"
        compute = partial(_distance, name)
        yield Metric(name, known.title, unit, "lower", known.words, known.source, compute, "features", known.pooled)


def _distance(name: str, case: Case, tools: Tools) -> float | None:
    return mean_distance(case, name, tools.features_of)


def _accuracies() -> Iterator[Metric]:
    for radius in DAI_RADII:
        yield Metric(
            f"dai-{radius}",
            f"DAI({radius})",
            "squared RGB",
            "lower",
            f"Squared difference of RGB in [0, 1], summed over channels, between the patches of {radius} px around "
            "handle in the original and target in the result; mean over the pixels that both pictures have, and over "
            "the drags.",
            f"{_GOODDRAG}, its formula",
            partial(_accuracy, radius),
        )
    for radius in DAI_RADII:
        yield Metric(
            f"dai-{radius}-gooddrag",
            f"DAI({radius}) as published",
            "squared RGB",
            "lower",
            f"dai-{radius} divided by the number of drags once more; absent where a patch leaves the picture.",
            f"{_GOODDRAG}, compute_DAI.py as it is",
            partial(_accuracy_as_published, radius),
        )


def _accuracy(radius: int, case: Case, tools: Tools) -> float:
    return dragging_accuracy(case.original, case.edited, case.drags, radius)


def _accuracy_as_published(radius: int, case: Case, tools: Tools) -> float | None:
    return dragging_accuracy_as_published(case.original, case.edited, case.drags, radius)


def _likenesses() -> Iterator[Metric]:
    yield Metric(
        "lpips",
        "LPIPS",
        "",
        "lower",
        "LPIPS on AlexNet between original and result, both brought to 224 x 224 (bilinear, no antialiasing).",
        _PUBLISHED_LPIPS,
        lambda case, tools: tools.perceptual(case.original, case.edited),
        "lpips",
    )
    yield Metric(
        "image-fidelity",
        "IF",
        "",
        "higher",
        "1 - LPIPS.",
        "DragDiffusion (Shi et al., CVPR 2024)",
        lambda case, tools: 1 - tools.perceptual(case.original, case.edited),
        "lpips",
    )
    yield Metric(
        "background-fidelity",
        "IF outside",
        "",
        "higher",
        "1 - LPIPS of what lies outside the mask, with everything inside it grey.",
        "DragFlow's IF_bg, evaluation/evaluation_utils.py",
        lambda case, tools: (
            None if case.outside is None else 1 - tools.perceptual.background(case.original, case.edited, case.outside)
        ),
        "lpips",
    )
    yield Metric(
        "clip",
        "CLIP",
        "",
        "higher",
        "Cosine of the CLIP image embeddings of original and result; published ones take ViT-B/32.",
        "DragDiffusion's run_eval_similarity.py",
        lambda case, tools: tools.similarity(case.original, case.edited),
        "clip",
    )
    yield Metric(
        "mse",
        "MSE",
        "squared, [-1, 1]",
        "lower",
        "Mean squared difference between original and result, over pixels and channels in [-1, 1].",
        "DragLoRA's run_eval_similarity.py",
        lambda case, tools: squared_change(case.original, case.edited),
    )


def _drag_back() -> Iterator[Metric]:
    """The result is dragged back by the reversed drags, an edit of its own; what comes of it should be the original."""
    how = "between the original and the result dragged back to it by the reversed drags"
    yield Metric(
        "drag-back-lpips",
        "drag-back LPIPS",
        "",
        "lower",
        f"LPIPS (as lpips) {how}.",
        _DRAG_BACK,
        lambda case, tools: None if case.back is None else tools.perceptual(case.original, case.back),
        "lpips",
    )
    yield Metric(
        "drag-back-clip",
        "drag-back CLIP",
        "",
        "higher",
        f"CLIP's similarity (as clip) {how}.",
        _DRAG_BACK,
        lambda case, tools: None if case.back is None else tools.similarity(case.original, case.back),
        "clip",
    )
    yield Metric(
        "drag-back-mse",
        "drag-back MSE",
        "squared, [-1, 1]",
        "lower",
        f"Mean squared difference (as mse) {how}.",
        _DRAG_BACK,
        lambda case, tools: None if case.back is None else squared_change(case.original, case.back),
    )


def _outside() -> Iterator[Metric]:
    def metric(
        name: str,
        title: str,
        unit: str,
        direction: Direction,
        definition: str,
        measure: Callable[..., float],
        source: str = _PIXELS,
    ) -> Metric:
        def compute(case: Case, tools: Tools) -> float | None:
            return None if case.outside is None else measure(case.original, case.edited, case.outside)

        return Metric(f"outside-{name}", title, unit, direction, definition, source, compute)

    yield metric(
        "changed",
        "changed outside",
        "share",
        "lower",
        "Share of the pixels outside the mask that changed.",
        share_changed,
    )
    yield metric(
        "l1",
        "L1 outside",
        "levels of 255",
        "lower",
        "Mean absolute difference to the original outside the mask, over pixels and channels.",
        mean_change,
    )
    yield metric(
        "psnr",
        "PSNR outside",
        "dB",
        "higher",
        "PSNR to the original outside the mask; at most 100, which no change gets.",
        psnr,
    )
    yield metric(
        "ssim",
        "SSIM outside",
        "",
        "higher",
        "SSIM to the original outside the mask (Gaussian window of sigma 1.5, mean over channels), what lies inside "
        "taken from the original.",
        structural_similarity,
        "Wang et al. (IEEE TIP 2004)",
    )


def _true() -> Iterator[Metric]:
    def metric(
        name: str,
        title: str,
        unit: str,
        direction: Direction,
        definition: str,
        measure: Callable[[Case], float | None],
    ) -> Metric:
        return Metric(name, title, unit, direction, definition, _SCENES, lambda case, tools: measure(case))

    yield metric(
        "way",
        "way",
        "share",
        "one",
        "Fraction of the way: a figure's centroid along its drag, or where on its way a part's own pixels fit best.",
        way,
    )
    yield metric(
        "distance-left",
        "distance left",
        "px",
        "lower",
        "From where the figure's centroid (or the part) is to where it should be.",
        fact("distance_left"),
    )
    yield metric(
        "overlap",
        "overlap",
        "share",
        "higher",
        "Intersection over union of the figure that is seen with where it should be.",
        fact("overlap"),
    )
    yield metric(
        "left-behind",
        "left behind",
        "share",
        "lower",
        "Share of the figure's old place, where it should be gone, that still shows something.",
        fact("left_behind"),
    )
    yield metric(
        "area-ratio",
        "area",
        "share",
        "one",
        "Area of the figure that is seen over what it should be.",
        fact("area_ratio"),
    )
    yield metric(
        "second-figure",
        "second figure",
        "0 or 1",
        "lower",
        "Whether a piece of a quarter of the figure or more stands apart from where it should be.",
        fact("second_figure"),
    )
    yield metric(
        "remains",
        "remains",
        "share",
        "lower",
        "Mean absolute difference to the true picture inside the mask, over that of the untouched picture.",
        fact("remaining_error"),
    )
    yield metric(
        "truth-psnr",
        "PSNR to the truth",
        "dB",
        "higher",
        "PSNR to the true picture, over the whole picture; at most 100.",
        truth_psnr,
    )


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for group in (_distances, _accuracies, _likenesses, _drag_back, _outside, _true)
        for metric in group()
    }
)
