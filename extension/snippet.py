"""An edit as a Python program that gives the same picture without a WebUI."""

from __future__ import annotations

from pprint import pformat
from typing import Any

from ..sdk.model.load import EMBEDDED
from ..sdk.result import EditResult
from ..sdk.settings import given_settings
from .pictures import Picture, file_name
from .report import version

PROGRAM = '''"""An edit of DragText {version}, the same to the byte where versions and kind of device are the same."""

from dragtext import sdk

PICTURE = {picture!r}  # what was dragged
MODEL = {model!r}{about_model}

request = sdk.Request.from_data(
{request}
)
editor = sdk.Editor(sdk.load_model(MODEL), PICTURE, request.prompt)
{drag}
{save}
'''
ARGUMENTS = "request.drags, mask=request.mask, region=request.region, settings=request.settings"
DRAG = f"result = editor.drag({ARGUMENTS})"
STOPPED = f"""updates = 0
run = editor.steps({ARGUMENTS})
for progress in run:
    updates += progress.step is not None and progress.step.updated
    if updates == {{steps}}:  # where it was interrupted
        run.stop()
result = run.result()"""
SAVE = 'result.save("dragged.png")'
SAVE_AT = 'result.at({v!r}, {text!r}).save("dragged.png")'


def snippet(result: EditResult, picture: Picture, v: tuple[float, float]) -> str:
    """The program for a finished edit at a point of its way."""
    asked = result.request
    settings = {**result.recommended, **given_settings(asked.settings)}
    fields: dict[str, Any] = {"prompt": asked.prompt, "drags": asked.to_data()["drags"], "settings": settings}
    fields |= {name: getattr(asked, name) for name in ("mask", "region") if getattr(asked, name) is not None}
    if isinstance(asked.region, tuple):
        fields["region"] = list(asked.region)
    is_embedded = result.model == EMBEDDED.name
    about = "  # the model that comes with DragText" if is_embedded else "  # where this checkpoint lies"
    if "<" in asked.prompt:
        about += "; networks that the prompt names are the WebUI's and are not loaded here"
    program = PROGRAM.format(
        version=version(),
        picture=file_name(picture),
        model=None if is_embedded else f"{result.model}.safetensors",
        about_model=about,
        request=indented(fields),
        drag=STOPPED.format(steps=result.steps) if result.stopped == "interrupted" else DRAG,
        save=SAVE if v == (1.0, 1.0) else SAVE_AT.format(v=v[0], text=v[1]),
    )
    compile(program, "snippet", "exec")
    return program


def indented(fields: dict[str, Any]) -> str:
    """A dict as lines of Python; long texts, as masks are, stay on one line."""
    lines = [f"        {name!r}: {value!r}," for name, value in fields.items() if name != "settings"]
    settings = pformat(fields["settings"], width=100, sort_dicts=False).replace("\n", "\n" + " " * 20)
    return "\n".join(["    {", *lines, f"        'settings': {settings},", "    }"])
