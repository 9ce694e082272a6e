"""`dragtext export-model` and `dragtext info`: models and this installation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import InputError
from .arguments import ModelOption, VaeOption
from .console import put, put_json


def export_model(
    output: Annotated[str, typer.Argument(help="where to write NAME.safetensors, with NAME.yaml")],
    model: ModelOption = None,
    vae: VaeOption = None,
    dtype: Annotated[str, typer.Option(help="float16 or float32, of the written weights")] = "float16",
    forge: Annotated[
        bool,
        typer.Option("--forge", help="widen the U-Net so that stock Forge recognises it (the same numbers, slower)"),
    ] = False,
    with_tokenizer: Annotated[
        bool, typer.Option("--with-tokenizer", help="also write NAME-clip/, for an A1111 that was never online")
    ] = False,
) -> None:
    """Write a model in the original layout with its yaml, for the checkpoint folder of A1111 or Forge."""
    from ..picture.files import check_writable

    path = Path(output)
    if path.suffix != ".safetensors":
        raise InputError(f"The checkpoint {path.name} must end in .safetensors.")
    if dtype not in ("float16", "float32"):
        raise InputError(f"--dtype {dtype} is neither float16 nor float32.")
    check_writable(path)
    import torch

    from ..model.export import export_checkpoint, forge_hint
    from ..model.load import load_model

    loaded = load_model(model, device="cpu", dtype="float32", vae=vae)
    for written in export_checkpoint(loaded, path, getattr(torch, dtype), forge=forge, with_tokenizer=with_tokenizer):
        put(f"Saved {written}")
    if not forge and (hint := forge_hint(loaded)):
        put(hint)


def info(json_: Annotated[bool, typer.Option("--json", help="print one JSON object on stdout")] = False) -> None:
    """Versions, devices, models and caches: what a bug report needs."""
    from .information import as_text, collect

    facts = collect()
    if json_:
        put_json(facts)
        return
    for name, value in facts.items():
        put(f"{name:>16}  {as_text(value)}")
