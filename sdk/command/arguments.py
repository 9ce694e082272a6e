"""What is typed after `dragtext`: the options that commands share, and their text turned into checked values.

Nothing here loads a model: whatever is wrong is said before that.
"""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..errors import InputError
from ..request import Drag, Request, make_drags
from ..settings import SettingInfo, catalogue, make_settings

log = logging.getLogger("dragtext")

ImageArgument = Annotated[str, typer.Argument(help="picture to edit")]
PromptOption = Annotated[Optional[str], typer.Option(help="what the picture shows")]
DragOption = Annotated[
    Optional[list[str]], typer.Option("--drag", help="x0,y0:x1,y1 in pixels; give it once per handle point")
]
MaskOption = Annotated[Optional[str], typer.Option(help="picture of that size; what is brighter than half may change")]
RegionOption = Annotated[
    Optional[list[str]],
    typer.Option("--region", help="picture of that size: what the drags carry; give it once, or once per drag"),
]
RequestOption = Annotated[
    Optional[str],
    typer.Option(
        help="PNG that an earlier edit wrote, .json, or a benchmark's meta_data.pkl or points.json; of JSON lines "
        "FILE#3 is the third; options override it"
    ),
]
ModelOption = Annotated[
    Optional[str],
    typer.Option(help="diffusers folder, .safetensors checkpoint, or downloaded hub model [the embedded model]"),
]
VaeOption = Annotated[
    Optional[str], typer.Option(help="another autoencoder: a .safetensors file or diffusers folder [the model's]")
]
DeviceOption = Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1, mps [cuda if there is one]")]
DtypeOption = Annotated[Optional[str], typer.Option(help="auto, float32, float16, bfloat16 [auto]")]
AttentionOption = Annotated[str, typer.Option(help="sdpa or xformers")]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="no progress bars")]
AtOption = Annotated[
    Optional[str],
    typer.Option(help="V or V,TEXT: how much of the edit; 0 the original, 1 all of it, 1.5 beyond [1]"),
]
SweepOption = Annotated[
    Optional[str], typer.Option("--sweep", help="START:STOP:COUNT, for example 0:2:9; also write a strip and a GIF")
]


def parse_drag(text: str) -> Drag:
    """`x0,y0:x1,y1` in pixels."""
    try:
        source, target = (tuple(float(v) for v in part.split(",")) for part in text.split(":"))
        (drag,) = make_drags([(source, target)])
    except ValueError:
        raise InputError(f"--drag {text} is not of the form x0,y0:x1,y1, for example 120,80:180,80.") from None
    return drag


def setting_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command one option per field of `Settings`, in place of its `**settings`."""
    parameters = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            parameters += [_option(setting) for setting in catalogue()]
        else:
            parameters.append(parameter)
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {p.name: p.annotation for p in parameters}
    return function


def _option(setting: SettingInfo) -> inspect.Parameter:
    kind = {"bool": bool, "int": int, "float": float, "choice": str, "text": str}[setting.kind]
    choices = f" ({', '.join(setting.choices)})" if setting.choices else ""
    flag = "--" + setting.name.replace("_", "-")
    declaration = f"{flag}/--no-{flag[2:]}" if kind is bool else flag
    help_text = f"{setting.description}{choices} [{setting.default_text}]"
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Optional[kind], typer.Option(declaration, help=help_text, show_default=False)],
    )


def read_inputs(
    image: str,
    prompt: str | None,
    drags: list[str] | None,
    mask: str | None,
    region: list[str] | None,
    request: str | None,
    settings: dict[str, Any],
) -> tuple[Request, Any, Any]:
    """The request, with its regions inside, the loaded picture and the mask, all checked before a model is loaded."""
    from ..picture.frame import Frame
    from ..picture.masks import load_mask, load_regions, mask_to_uri
    from ..picture.reading import load_image

    asked = _read_request(request, prompt, drags, mask, region, settings)
    loaded = load_image(image)
    if not asked.drags:
        raise InputError("There are no drags; give at least one --drag x0,y0:x1,y1.")
    size = loaded.rgb.shape[:2]
    Frame.of(*size).check_points(asked.drags)
    regions = tuple(mask_to_uri(one) for one in load_regions(asked.region, size))
    asked = replace(asked, region=regions or None)
    return asked, loaded, None if asked.mask is None else load_mask(asked.mask, size)


def parse_at(text: str | None) -> tuple[float, float | None] | None:
    """`V` or `V,TEXT`: how much of the image's edit, and of the text's where that differs."""
    if text is None:
        return None
    try:
        image, *more = (float(part) for part in text.split(","))
        (words,) = more or (None,)
    except ValueError:
        raise InputError(f"--at {text} is not of the form V or V,TEXT, for example 1.5 or 1,0.") from None
    from ..render.rendering import check_point

    check_point((image, image if words is None else words))
    return image, words


def parse_sweep(text: str | None) -> list[float] | None:
    """The COUNT even values of `START:STOP:COUNT`."""
    if text is None:
        return None
    try:
        first, last, number = text.split(":")
        start, stop, count = float(first), float(last), int(number)
    except ValueError:
        raise InputError(f"--sweep {text} is not of the form START:STOP:COUNT, for example 0:2:9.") from None
    if not 2 <= count <= 100:
        raise InputError(f"--sweep {text} asks for {count} pictures; give 2 to 100.")
    from ..render.rendering import check_point

    for end in (start, stop):
        check_point(end)
    return [start + (stop - start) * k / (count - 1) for k in range(count)]


def side_outputs(target: Path, sweeps: bool) -> list[Path]:
    """The strip and the GIF of a sweep, checked to be writable."""
    from ..picture.files import check_writable

    if not sweeps:
        return []
    strip = target.with_name(f"{target.stem}-sweep.png")
    paths = [strip, strip.with_suffix(".gif")]
    for path in paths:
        check_writable(path)
    return paths


def _read_request(
    path: str | None,
    prompt: str | None,
    drags: list[str] | None,
    mask: str | None,
    region: list[str] | None,
    settings: dict[str, Any],
) -> Request:
    """The request file, if any, with the command line's values over it."""
    from ..picture.requests import read_request

    asked = read_request(path) if path else Request(())
    given = {name: value for name, value in settings.items() if value is not None}
    given = {name: _as_text(value) if isinstance(value, str) else value for name, value in given.items()}
    return Request(
        drags=tuple(parse_drag(text) for text in drags) if drags else asked.drags,
        prompt=asked.prompt if prompt is None else _as_text(prompt),
        mask=asked.mask if mask is None else mask,
        settings=make_settings(given, asked.settings),
        region=tuple(region) if region else asked.region,
    )


def _as_text(argument: str) -> str:
    """An argument as text, also where its bytes are not in the system's encoding and came as lone surrogates."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        text = os.fsencode(argument).decode("utf-8", "replace")
        if "\N{REPLACEMENT CHARACTER}" in text:
            log.warning('The prompt is not in UTF-8; it is read as "%s".', text)
        return text
    return argument


def beside(path: str, ending: str) -> Path:
    """Where an output without a name of its own goes: the input's place and name, with another ending."""
    return Path(path).with_name(f"{Path(path).stem}{ending}")
