"""What can be asked of an edit: drags, settings, and the request that holds both. JSON in and out.

`Settings` is the single list of settings: the command line, the request file, PNG metadata and every later user
interface are generated from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Literal

import pydantic
from pydantic import BaseModel, Field, ValidationError

from .errors import InputError

Point = tuple[float, float]
METHODS = ("gooddrag", "dragdiffusion", "freedrag", "dragnoise")

# Published values that differ between methods (ALGORITHMS section 7; where a user interface and a benchmark script of
# the same authors differ, the benchmark's, which the published numbers come from). A setting left at None takes its
# method's.
METHOD_DEFAULTS: dict[str, dict[str, Any]] = {
    "gooddrag": {
        "steps": 210,
        "lr": 0.02,
        "mask_weight": 0.1,
        "strength": 0.75,
        "supervision_radius": 4,
        "tracking_radius": 12,
        "displacement": 4.0,
        "shared_attention": True,
        "lora_steps": 70,
        "lora_lr": 5e-4,
    },
    "dragdiffusion": {
        "steps": 80,
        "lr": 0.01,
        "mask_weight": 0.1,
        "strength": 0.7,
        "supervision_radius": 1,
        "tracking_radius": 3,
        "displacement": 1.0,
        "shared_attention": True,
        "lora_steps": 80,
        "lora_lr": 5e-4,
    },
    "freedrag": {
        "steps": 300,
        "lr": 0.01,
        "mask_weight": 10.0,
        "strength": 0.7,
        "supervision_radius": 4,
        "tracking_radius": 3,  # not used: there is no point tracker
        "displacement": 5.0,
        "shared_attention": True,
        "lora_steps": 200,
        "lora_lr": 2e-4,
    },
    "dragnoise": {
        "steps": 80,
        "lr": 0.02,
        "mask_weight": 0.2,
        "strength": 0.7,
        "supervision_radius": 1,
        "tracking_radius": 3,
        "displacement": 1.0,
        "shared_attention": False,
        "lora_steps": 200,
        "lora_lr": 2e-4,
    },
}


class Settings(BaseModel, extra="forbid", frozen=True):
    """Every hyperparameter of an edit. None means the method's published value; `resolve` fills it in."""

    method: Literal["gooddrag", "dragdiffusion", "freedrag", "dragnoise"] = Field(
        default="gooddrag", description="base method"
    )
    text: bool = Field(default=True, description="optimise the text embedding along with the image (DragText)")
    gradients: Literal["joint", "paper", "official", "repository"] = Field(
        default="joint",
        description="what the optimisers see: one shared backward, the paper's two losses, the published code with its "
        "leftovers, or DragText's repository (differs from the former for FreeDrag without text only)",
    )
    resolution: int | None = Field(
        default=None,
        ge=64,
        le=2048,
        description="work on about this many pixels squared, whatever the picture's size; by default its own size, or "
        "the model's with crop and for pictures over a megapixel",
    )
    crop: Literal["none", "auto"] = Field(
        default="none", description="auto: edit only a padded box around drags and mask, and paste it back"
    )
    steps: int | None = Field(default=None, ge=1, le=2000, description="most updates of the drag loop")
    lr: float | None = Field(default=None, gt=0, le=10, description="Adam step size of the latent")
    text_lr: float = Field(default=0.004, gt=0, le=1, description="Adam step size of the text embedding")
    text_weight: float = Field(
        default=0.1, ge=0, le=1000, description="weight of the L1 term that keeps the text's meaning"
    )
    mask_weight: float | None = Field(
        default=None, ge=0, le=1000, description="weight of the term that keeps what lies outside the mask"
    )
    strength: float | None = Field(
        default=None, gt=0, le=1, description="how far the image is inverted, as a fraction of the inference steps"
    )
    inference_steps: int = Field(default=50, ge=2, le=500, description="DDIM steps of a full denoise")
    feature_block: int = Field(
        default=3, ge=1, le=4, description="decoder block whose features are dragged, coarse to fine"
    )
    supervision_radius: int | None = Field(
        default=None, ge=0, le=32, description="half width of the supervised window, feature-grid pixels"
    )
    tracking_radius: int | None = Field(
        default=None, ge=1, le=64, description="half width of the point search window, feature-grid pixels"
    )
    displacement: float | None = Field(
        default=None, gt=0, le=64, description="how far ahead features are pulled at once, feature-grid pixels"
    )
    reach_distance: float = Field(
        default=2.0, gt=0, le=100, description="a point this close to its target has arrived, feature-grid pixels"
    )
    expected_loss: float = Field(
        default=1.0, gt=0, le=100, description="feature difference that FreeDrag's line search looks for"
    )
    inner_steps: int = Field(default=5, ge=1, le=100, description="most updates per round of FreeDrag")
    drag_levels: int = Field(default=7, ge=1, le=500, description="timesteps at which GoodDrag drags")
    tracks_per_level: int = Field(default=10, ge=1, le=500, description="point trackings per timestep of GoodDrag")
    steps_per_track: int = Field(default=3, ge=1, le=100, description="updates per point tracking of GoodDrag")
    patience: int = Field(default=5, ge=1, le=500, description="trackings without movement after which GoodDrag ends")
    shared_attention: bool | None = Field(
        default=None, description="let the edited image attend to the original's keys and values in the denoise"
    )
    shared_attention_stages: int = Field(
        default=2, ge=1, le=4, description="how many of the last decoder stages share attention"
    )
    shared_attention_start: int = Field(
        default=0, ge=0, le=500, description="denoise step from which attention is shared"
    )
    lora_steps: int | None = Field(
        default=None, ge=0, le=5000, description="training steps of the identity LoRA; 0 turns it off"
    )
    lora_lr: float | None = Field(default=None, gt=0, le=1, description="AdamW step size of the identity LoRA")
    lora_rank: int = Field(default=16, ge=1, le=256, description="rank of the identity LoRA")
    lora_batch: int = Field(default=4, ge=1, le=64, description="noised copies per training step of the LoRA")
    seed: int = Field(default=42, ge=0, le=2**63 - 1, description="seed of the LoRA's noise, the only randomness")

    def resolve(self) -> ResolvedSettings:
        """The same settings with the method's default wherever it has one and None was left."""
        defaults = METHOD_DEFAULTS[self.method]
        filled: dict[str, Any] = {k: defaults.get(k) if v is None else v for k, v in as_dict(self).items()}
        return ResolvedSettings(**filled)


class ResolvedSettings(Settings, frozen=True):
    """Settings as a loop reads them: nothing that depends on the method is open any more."""

    steps: int
    lr: float
    mask_weight: float
    strength: float
    supervision_radius: int
    tracking_radius: int
    displacement: float
    shared_attention: bool
    lora_steps: int
    lora_lr: float


def as_dict(model: BaseModel) -> dict[str, Any]:
    """Field values of a pydantic 1 or 2 model."""
    return {name: getattr(model, name) for name in setting_names(type(model))}


def setting_names(model: type[BaseModel] = Settings) -> tuple[str, ...]:
    """Names of all fields, in order, under pydantic 1 and 2."""
    fields = model.model_fields if pydantic.VERSION.startswith("2") else model.__fields__
    return tuple(fields)


def make_settings(values: dict[str, Any] | None = None, base: Settings | None = None) -> Settings:
    """Build and check settings; `values` override `base`. Raises InputError naming the setting and the reason."""
    merged = {**(as_dict(base) if base else {}), **(values or {})}
    unknown = sorted(set(merged) - set(setting_names()))
    if unknown:
        raise InputError(f"Unknown setting '{unknown[0]}'; the settings are: {', '.join(setting_names())}.")
    if merged.get("method", METHODS[0]) not in METHODS:
        raise InputError(f"Unknown method '{merged['method']}'; the methods are: {', '.join(METHODS)}.")
    for name, value in merged.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"Setting '{name}' is {value}; it must be a finite number.")
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"Setting '{name}' is {merged.get(name)!r}: {reason}.") from None


@dataclass(frozen=True)
class Drag:
    """One handle point and where it should go, both (x, y) in pixels of the user's image."""

    source: Point
    target: Point


def make_drags(
    drags: Any = None,
    *,
    source_points: Sequence[Sequence[float]] | None = None,
    target_points: Sequence[Sequence[float]] | None = None,
) -> tuple[Drag, ...]:
    """Read drags in any of the accepted forms, all (x, y) pixels.

    drags: a list of `Drag`, of ((x0, y0), (x1, y1)) pairs, or the benchmarks' flat list [handle, target, handle,
        target, ...] of (x, y) points.
    source_points, target_points: two lists of equal length instead.
    """
    if drags is not None and (source_points is not None or target_points is not None):
        raise InputError("Give drags or source_points with target_points, not both.")
    if drags is None:
        if (source_points is None) != (target_points is None):
            raise InputError("source_points and target_points belong together; give both.")
        sources, targets = list(source_points or ()), list(target_points or ())
        if len(sources) != len(targets):
            raise InputError(
                f"There are {len(sources)} source_points but {len(targets)} target_points; "
                "they pair up, so give as many of each."
            )
        pairs = list(zip(sources, targets))
    else:
        pairs = _pairs(drags)
    if not pairs:
        raise InputError("There are no drags; give at least one handle point and its target.")
    result = tuple(Drag(_point(source), _point(target)) for source, target in pairs)
    for drag in result:
        if drag.source == drag.target:
            raise InputError(f"Handle and target are both at {_show(drag.source)}; move the target.")
    return result


def _pairs(drags: Any) -> list[tuple[Any, Any]]:
    try:
        items = list(drags)
    except TypeError:
        raise InputError(f"Drags must be a list of point pairs, not {drags!r}.") from None
    if any(isinstance(item, Drag) for item in items):
        if not all(isinstance(item, Drag) for item in items):
            raise InputError("Drags mix Drag objects with other forms; use one form.")
        return [(item.source, item.target) for item in items]
    if items and all(_is_point(item) for item in items):
        if len(items) % 2:
            raise InputError(
                f"A flat list alternates handle and target, so it needs an even number of points, not {len(items)}."
            )
        return list(zip(items[::2], items[1::2]))
    pairs = []
    for item in items:
        if isinstance(item, dict) and set(item) == {"source", "target"}:
            pairs.append((item["source"], item["target"]))
            continue
        try:
            source, target = item
        except (TypeError, ValueError):
            raise InputError(f"A drag is a pair of (x, y) points, not {item!r}.") from None
        pairs.append((source, target))
    return pairs


def _is_point(item: Any) -> bool:
    try:
        return len(item) == 2 and all(isinstance(v, Real) for v in item)
    except TypeError:
        return False


def _point(item: Any) -> Point:
    if not _is_point(item):
        raise InputError(f"A point is (x, y) in pixels, not {item!r}.")
    x, y = float(item[0]), float(item[1])
    if not (math.isfinite(x) and math.isfinite(y)):
        raise InputError(f"The point ({x}, {y}) is not finite; give pixel coordinates.")
    return x, y


def _show(point: Point) -> str:
    return f"({point[0]:g}, {point[1]:g})"


@dataclass(frozen=True)
class Request:
    """Everything that defines an edit besides the image and the model.

    mask: a path (relative to the request file), or a `data:image/png;base64,` URI as written into PNG metadata.
    """

    drags: tuple[Drag, ...]
    prompt: str = ""
    mask: str | None = None
    settings: Settings = field(default_factory=lambda: Settings())

    def to_json(self) -> str:
        return json.dumps(
            {
                "prompt": self.prompt,
                "drags": [[list(d.source), list(d.target)] for d in self.drags],
                "mask": self.mask,
                "settings": as_dict(self.settings),
            }
        )

    @classmethod
    def from_json(cls, text: str) -> Request:
        """Parse a request. Drags may have any form that `make_drags` takes; `points` is the flat list's old name."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise InputError(f"The request is not valid JSON ({error}).") from None
        if not isinstance(data, dict):
            raise InputError("The request must be a JSON object with prompt, drags, mask and settings.")
        known = {"prompt", "drags", "points", "source_points", "target_points", "mask", "settings"}
        unknown = sorted(set(data) - known)
        if unknown:
            raise InputError(f"Unknown request field '{unknown[0]}'; the fields are: {', '.join(sorted(known))}.")
        prompt, mask = data.get("prompt") or "", data.get("mask")
        settings = data.get("settings") or {}
        if not isinstance(prompt, str) or not (mask is None or isinstance(mask, str)):
            raise InputError("In the request, prompt and mask must be text.")
        if not isinstance(settings, dict):
            raise InputError("In the request, settings must be an object of name and value.")
        drags = data.get("drags", data.get("points"))
        two_lists = {k: data[k] for k in ("source_points", "target_points") if k in data}
        if drags is None and not two_lists:
            return cls((), prompt, mask, make_settings(settings))
        return cls(make_drags(drags, **two_lists), prompt, mask, make_settings(settings))
