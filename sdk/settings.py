"""Every hyperparameter of an edit, and what there is to know about each.

`Settings` is the single list of settings: the command line, the request file, PNG metadata, the tab and the HTTP API
are generated from it.
"""

# ResolvedSettings takes defaults away, which pydantic allows and a dataclass would not:
# pyright: reportGeneralTypeIssues=false
from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, get_args

import pydantic
from pydantic import BaseModel, Field, ValidationError

from .drag import LOOPS, METHODS, MethodName, defaults_of
from .errors import InputError

MOST_LEVELS = 500
SEAM = 4.0
LONGEST_PROMPT = 10_000  # characters
QUICK_STEPS = 20  # of the quick identity LoRA
# What published fits of the identity have in common: steps times rate (80 x 5e-4, 200 x 2e-4). Adam's steps are about
# as long as the rate, so it is how far an adapter can go.
IDENTITY_REACH = 0.04
PUBLISHED_BATCH = 4

Kind = Literal["bool", "int", "float", "choice", "text"]
# What a model may recommend settings for: all drags of an edit go the same way, turn, or change a size; or none of it.
DragKind = Literal["move", "rotate", "stretch", "other"]
DRAG_KINDS: tuple[str, ...] = get_args(DragKind)


class Settings(BaseModel, extra="forbid", frozen=True):
    """Every hyperparameter of an edit. None means the method's own value, which is the published one for all but the
    identity LoRA unless `identity` says so; `resolve` fills it in."""

    method: MethodName = Field(default="gooddrag", description="base method")
    text: bool = Field(default=True, description="optimise the text embedding along with the image (DragText)")
    gradients: Literal["joint", "paper", "official", "repository"] = Field(
        default="joint",
        description="what the optimisers see: one shared backward, the paper's two losses, the published code with its "
        "leftovers, or DragText's repository (differs from the former for FreeDrag without text only)",
    )
    start: Literal["none", "warp", "cells", "field"] | None = Field(
        default=None,
        description="where the content begins: in the picture as it is; with the pixels of what moves already moved; "
        "with the cells of its inverted latent moved, rigidly, or by a field that falls off from the handles",
    )
    start_noise: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="share of fresh noise where the start reveals something, so that the model paints it anew",
    )
    repaint: Literal["mask", "revealed"] | None = Field(
        default=None,
        description="what the model paints after a warped start: all that may change, or only what the start reveals "
        "and its seams, so that what was moved keeps its pixels",
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
    composite: bool = Field(
        default=True,
        description="with a mask, give every byte outside it back as it was, and protect what it covers less than "
        "half; off is the published behaviour, where an edit changes the rest of the picture a little too",
    )
    seam: float = Field(
        default=SEAM,
        ge=0,
        le=256,
        description="pixels inside the mask over which an edit fades in, up to twice as many where it is enlarged",
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
    hold_background: bool = Field(
        default=False,
        description="after every update give the latent outside the mask back what the undragged picture has there "
        "(DragFlow), beside the mask's term or, with mask_weight 0, in its place",
    )
    strength: float | None = Field(
        default=None, gt=0, le=1, description="how far the image is inverted, as a fraction of the inference steps"
    )
    inference_steps: int = Field(default=50, ge=2, le=500, description="DDIM steps of a full denoise")
    guidance: float = Field(
        default=1.0,
        ge=1,
        le=30,
        description="scale of classifier-free guidance in inversion, drag and denoise; 1 is none, as published",
    )
    guidance_schedule: Literal["constant", "ramp"] = Field(
        default="constant",
        description="the same guidance at every noise level, or rising from none on the clean picture (SDE-Drag)",
    )
    feature_guidance: float = Field(
        default=1.0,
        ge=1,
        le=30,
        description="scale of guidance on the features that are dragged (DragDiffusion's, for generated pictures); 1 "
        "is none",
    )
    negative_prompt: str = Field(
        default="", max_length=LONGEST_PROMPT, description="what guidance leads away from, without which it is not read"
    )
    feature_block: int = Field(
        default=3, ge=1, le=4, description="decoder stage whose features are dragged, coarse to fine; the last one is 4"
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
    drag_levels: int | None = Field(
        default=None,
        ge=1,
        le=MOST_LEVELS,
        description="timesteps at which GoodDrag drags; by default as many more as `steps` needs",
    )
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
    identity: Literal["none", "quick", "published"] | None = Field(
        default=None,
        description="how the identity LoRA learns the picture: not at all; quick, which goes as far as published fits "
        "in a fourteenth of their work or less, with fewer and larger steps on one copy each, at the noise levels that "
        "the edit visits; published, what the method's authors did, 70 to 200 steps on four copies at all levels",
    )
    lora_steps: int | None = Field(
        default=None, ge=0, le=5000, description="training steps of the identity LoRA; 0 turns it off"
    )
    lora_lr: float | None = Field(default=None, gt=0, le=1, description="AdamW step size of the identity LoRA")
    lora_rank: int = Field(default=16, ge=1, le=256, description="rank of the identity LoRA")
    lora_batch: int | None = Field(default=None, ge=1, le=64, description="noised copies per training step of the LoRA")
    capture: bool = Field(
        default=False,
        description="on CUDA, record an iteration's way through the U-Net and back once and replay it, so that a fast "
        "card does not wait for Python; not for DragNoise, with guidance, or gradients other than joint",
    )
    memory: Literal["auto", "full", "lean"] = Field(
        default="auto",
        description="how an edit gets by with the memory there is: auto takes what is needed of the ways to save some, "
        "full none of them, lean all; the latter two are never refused",
    )
    seed: int = Field(
        default=42,
        ge=0,
        le=2**63 - 1,
        description="seed of all that is random: the LoRA's noise, start_noise, what fills a start of cells",
    )

    def resolve(self) -> ResolvedSettings:
        """The same settings with the method's default wherever it has one and None was left."""
        defaults = {**defaults_of(self.method), "lora_batch": PUBLISHED_BATCH}
        identity = defaults["identity"] = self.identity or ("quick" if defaults["lora_steps"] else "none")
        if identity != "published":
            usual = QUICK_STEPS if identity == "quick" else 0
            steps = usual if self.lora_steps is None else self.lora_steps
            rate = IDENTITY_REACH / max(steps, QUICK_STEPS)
            defaults.update(lora_steps=steps, lora_lr=rate, lora_batch=1)
        filled: dict[str, Any] = {k: defaults.get(k) if v is None else v for k, v in as_dict(self).items()}
        if self.drag_levels is None and filled["drag_levels"] is not None:
            needed = math.ceil(filled["steps"] / (self.tracks_per_level * self.steps_per_track))
            filled["drag_levels"] = min(max(filled["drag_levels"], needed), MOST_LEVELS)
        return ResolvedSettings(**filled)


class ResolvedSettings(Settings, frozen=True):
    """Settings as a loop reads them: nothing that depends on the method is open any more."""

    start: Literal["none", "warp", "cells", "field"]
    repaint: Literal["mask", "revealed"]
    steps: int
    lr: float
    mask_weight: float
    strength: float
    supervision_radius: int
    tracking_radius: int
    displacement: float
    shared_attention: bool
    identity: Literal["none", "quick", "published"]
    lora_steps: int
    lora_lr: float
    lora_batch: int

    @property
    def guided(self) -> bool:
        """Whether a negative prompt, "" included, is read at all."""
        return self.guidance != 1 or self.feature_guidance != 1

    @property
    def has_loop(self) -> bool:
        """Whether the method optimises something; a start alone does not."""
        return self.method in LOOPS


# Read by loops alone: who sets one of these wants a loop.
LOOP_SETTINGS = frozenset(
    {
        "text",
        "gradients",
        "steps",
        "lr",
        "text_lr",
        "text_weight",
        "mask_weight",
        "hold_background",
        "feature_guidance",
        "feature_block",
        "supervision_radius",
        "tracking_radius",
        "displacement",
        "reach_distance",
        "expected_loss",
        "inner_steps",
        "drag_levels",
        "tracks_per_level",
        "steps_per_track",
        "patience",
        "capture",
    }
)


def given_settings(settings: Settings) -> dict[str, Any]:
    """What was asked for, without what was left at its default, under pydantic 1 and 2."""
    names = settings.model_fields_set if hasattr(settings, "model_fields_set") else settings.__fields_set__
    return {name: value for name in sorted(names) if (value := getattr(settings, name)) is not None}


def with_recommended(asked: Settings, recommended: Mapping[str, Any]) -> tuple[Settings, dict[str, Any]]:
    """The settings that come with a model where nothing else was asked for, and which of them were taken.

    They suit one method: none is taken by an edit that asks for another. Where the recommended method is a mere start,
    an edit that sets anything for a loop keeps the start and gets a loop behind it.
    """
    given = given_settings(asked)
    wanted = dict(recommended)
    if given.get("method", wanted.get("method")) != wanted.get("method"):
        return asked, {}
    starts = wanted.get("method") == "warp" and "method" not in given
    if starts and (LOOP_SETTINGS & set(given) or given.get("start") == "none"):
        for name in ("method", "repaint"):
            wanted.pop(name, None)
        wanted.setdefault("start", "warp")
    taken = {name: value for name, value in wanted.items() if name not in given}
    return (make_settings(taken, asked), taken) if taken else (asked, {})


def as_dict(model: BaseModel) -> dict[str, Any]:
    """Field values of a pydantic 1 or 2 model."""
    return {name: getattr(model, name) for name in setting_names(type(model))}


def setting_names(model: type[BaseModel] = Settings) -> tuple[str, ...]:
    """Names of all fields, in order, under pydantic 1 and 2."""
    fields = model.model_fields if pydantic.VERSION.startswith("2") else model.__fields__
    return tuple(fields)


def make_settings(values: dict[str, Any] | None = None, base: Settings | None = None) -> Settings:
    """Build and check settings; `values` override `base`. Raises InputError naming the setting and the reason."""
    merged = {**(given_settings(base) if base else {}), **(values or {})}
    unknown = sorted(set(merged) - set(setting_names()))
    if unknown:
        raise InputError(f"Unknown setting '{unknown[0]}'; the settings are: {', '.join(setting_names())}.")
    if merged.get("method", METHODS[0]) not in METHODS:
        raise InputError(f"Unknown method '{merged['method']}'; the methods are: {', '.join(METHODS)}.")
    for name, value in merged.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"Setting '{name}' is {value}; it must be a finite number.")
        if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
            raise InputError(f"Setting '{name}' holds half a character (a lone surrogate); write it again.")
        if isinstance(value, bool) and name not in _switches():
            raise InputError(f"Setting '{name}' is {value}; it must not be true or false.")
    try:
        return Settings(**merged)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        reason = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(f"Setting '{name}' is {merged.get(name)!r}: {reason}.") from None


@lru_cache(maxsize=1)
def _switches() -> frozenset[str]:
    """The settings that are true or false; pydantic would take `true` for 1 in the others."""
    return frozenset(info.name for info in catalogue() if info.kind == "bool")


@dataclass(frozen=True)
class SettingInfo:
    """One setting. default: None where it depends on the method (`by_method`) or the picture; `least` is excluded as a
    value itself where `above` is true; the `most` of a text is its characters."""

    name: str
    kind: Kind
    description: str
    default: Any
    by_method: dict[str, Any]
    choices: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None
    above: bool = False

    @property
    def label(self) -> str:
        return self.name.replace("_", " ").capitalize()

    @property
    def default_text(self) -> str:
        """The default in words."""
        if self.default is not None:
            return str(self.default) or "none"
        values = set(self.by_method.values())
        if len(values) == 1 and len(self.by_method) == len(METHODS):
            return str(values.pop())
        return ", ".join(f"{method} {value}" for method, value in self.by_method.items()) or "automatic"

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the value."""
        kinds = {"bool": "boolean", "int": "integer", "float": "number", "choice": "string", "text": "string"}
        schema: dict[str, Any] = {"description": f"{self.description} [{self.default_text}]"}
        schema["type"] = kinds[self.kind] if self.default is not None else [kinds[self.kind], "null"]
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.least is not None:
            schema["exclusiveMinimum" if self.above else "minimum"] = self.least
        if self.most is not None:
            schema["maxLength" if self.kind == "text" else "maximum"] = self.most
        if self.default is not None:
            schema["default"] = self.default
        return schema


def catalogue() -> tuple[SettingInfo, ...]:
    """All settings in their order, the same under pydantic 1 and 2."""
    schema = Settings.model_json_schema() if hasattr(Settings, "model_json_schema") else Settings.schema()
    standard = Settings()
    return tuple(_info(name, schema["properties"][name], getattr(standard, name)) for name in setting_names())


@lru_cache(maxsize=len(METHODS))
def _usual(method: str) -> ResolvedSettings:
    """A method's settings where nothing is asked for."""
    return make_settings({"method": method}).resolve()


def _by_method(name: str) -> dict[str, Any]:
    """What a setting that was left open is with each method, as far as it is anything."""
    values = {method: getattr(_usual(method), name) for method in METHODS}
    return {method: value for method, value in values.items() if value is not None}


def _info(name: str, field: dict[str, Any], default: Any) -> SettingInfo:
    # pydantic 2 puts what is optional into `anyOf`.
    facts = {**field, **next((part for part in field.get("anyOf", ()) if part.get("type") != "null"), {})}
    kinds: dict[str, Kind] = {"boolean": "bool", "integer": "int", "number": "float"}
    kind = kinds.get(facts["type"], "choice" if "enum" in facts else "text")
    above = "exclusiveMinimum" in facts
    return SettingInfo(
        name=name,
        kind=kind,
        description=field["description"],
        default=default,
        by_method={} if default is not None else _by_method(name),
        choices=tuple(facts.get("enum", ())),
        least=facts["exclusiveMinimum"] if above else facts.get("minimum"),
        most=facts.get("maxLength" if kind == "text" else "maximum"),
        above=above,
    )
