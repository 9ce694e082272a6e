"""What there is to know about each setting, read from `Settings`: for the command line, the tab and the HTTP API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from .request import METHOD_DEFAULTS, Settings, setting_names

Kind = Literal["bool", "int", "float", "choice"]


@dataclass(frozen=True)
class SettingInfo:
    """One setting. default: None where it depends on the method (`published`) or the picture; `least` is excluded as a
    value itself where `above` is true."""

    name: str
    kind: Kind
    description: str
    default: Any
    published: dict[str, Any]
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
            return str(self.default)
        return ", ".join(f"{method} {value}" for method, value in self.published.items()) or "automatic"

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of the value."""
        kinds = {"bool": "boolean", "int": "integer", "float": "number", "choice": "string"}
        schema: dict[str, Any] = {"description": f"{self.description} [{self.default_text}]"}
        schema["type"] = kinds[self.kind] if self.default is not None else [kinds[self.kind], "null"]
        if self.choices:
            schema["enum"] = list(self.choices)
        if self.least is not None:
            schema["exclusiveMinimum" if self.above else "minimum"] = self.least
        if self.most is not None:
            schema["maximum"] = self.most
        if self.default is not None:
            schema["default"] = self.default
        return schema


def catalogue() -> tuple[SettingInfo, ...]:
    """All settings in their order, the same under pydantic 1 and 2."""
    schema = Settings.model_json_schema() if hasattr(Settings, "model_json_schema") else Settings.schema()
    standard = Settings()
    return tuple(_info(name, schema["properties"][name], getattr(standard, name)) for name in setting_names())


def _info(name: str, field: dict[str, Any], default: Any) -> SettingInfo:
    # pydantic 2 puts what is optional into `anyOf`.
    facts = {**field, **next((part for part in field.get("anyOf", ()) if part.get("type") != "null"), {})}
    kinds: dict[str, Kind] = {"boolean": "bool", "integer": "int", "number": "float", "string": "choice"}
    above = "exclusiveMinimum" in facts
    return SettingInfo(
        name=name,
        kind=kinds[facts["type"]],
        description=field["description"],
        default=default,
        published={method: values[name] for method, values in METHOD_DEFAULTS.items() if name in values},
        choices=tuple(facts.get("enum", ())),
        least=facts["exclusiveMinimum"] if above else facts.get("minimum"),
        most=facts.get("maximum"),
        above=above,
    )
