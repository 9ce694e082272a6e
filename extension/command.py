"""`dragtext ui`, added to the SDK's command: the tab and the HTTP API without a WebUI."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from ..sdk.command.app import COMMANDS, Home
from ..sdk.command.app import main as run_command
from ..sdk.errors import InputError

UI = Home("dragtext.extension.command", "ui", "Open the drag tab in a browser, without a WebUI.")
SWITCH = {"1": True, "true": True, "on": True, "yes": True, "0": False, "false": False, "off": False, "no": False}


def ui(
    model: Annotated[
        Optional[str], typer.Option(help="diffusers folder or .safetensors checkpoint [the embedded model]")
    ] = None,
    vae: Annotated[
        Optional[str], typer.Option(help="another autoencoder: a .safetensors file or diffusers folder [the model's]")
    ] = None,
    port: Annotated[int, typer.Option(help="port to listen on")] = 7870,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0 is the whole network")] = "127.0.0.1",
    api: Annotated[bool, typer.Option("--api", help="also serve the HTTP API, /dragtext/v1")] = False,
    auth: Annotated[
        Optional[list[str]], typer.Option("--auth", help="NAME:PASSWORD of the page; may be repeated")
    ] = None,
    api_auth: Annotated[
        Optional[list[str]], typer.Option("--api-auth", help="NAME:PASSWORD of the API; may be repeated")
    ] = None,
    output_dir: Annotated[str, typer.Option("--output-dir", "-o", help="folder for results")] = "dragtext-outputs",
    option: Annotated[
        Optional[list[str]], typer.Option("--option", help="NAME=VALUE, as in a WebUI's settings: preview_every=5")
    ] = None,
    allow_host: Annotated[
        Optional[list[str]],
        typer.Option("--allow-host", help="another name by which this page is opened; may be repeated"),
    ] = None,
    device: Annotated[Optional[str], typer.Option(help="cpu, cuda, cuda:1, mps [cuda if there is one]")] = None,
    dtype: Annotated[Optional[str], typer.Option(help="auto, float32, float16, bfloat16 [auto]")] = None,
) -> None:
    """Open the drag tab in a browser, without a WebUI."""
    if importlib.util.find_spec("gradio") is None:
        raise InputError("The page needs gradio: pip install 'dragtext[ui]'.")
    from .hosts.base import Accounts
    from .hosts.standalone import Standalone
    from .queue import Jobs
    from .server import serve

    standalone = Standalone(
        model,
        output=Path(output_dir).absolute(),
        accounts=Accounts(_accounts(auth, "--auth"), _accounts(api_auth, "--api-auth")),
        options=_options(option or ()),
        has_public_api=api,
        device=device,
        dtype=dtype,
        vae=vae,
    )
    serve(Jobs(standalone), host, port, allow_host or ())


def _accounts(texts: Sequence[str] | None, flag: str) -> dict[str, str]:
    known = {}
    for text in texts or ():
        name, colon, password = text.partition(":")
        if not (name and colon and password):
            raise InputError(f"{flag} is of the form NAME:PASSWORD.")
        known[name] = password
    return known


def _options(texts: Sequence[str]) -> dict[str, Any]:
    from .options import BY_NAME

    chosen: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or name not in BY_NAME:
            raise InputError(f"--option {text} is not NAME=VALUE with one of: {', '.join(BY_NAME)}.")
        default = BY_NAME[name].default
        try:
            chosen[name] = SWITCH[value.lower()] if isinstance(default, bool) else type(default)(value)
        except KeyError:
            raise InputError(f"--option {name} is {value!r}; it must be on or off.") from None
        except ValueError:
            raise InputError(f"--option {name} is {value!r}; it must be a whole number.") from None
    return chosen


def main() -> None:
    """The `dragtext` command with `ui` among its subcommands."""
    run_command({**COMMANDS, "ui": UI})
