"""Weights in safetensors files: checked heads, one tensor in memory at a time, every fault named with its file.

diffusers and transformers fill what a file lacks with random numbers, load NaN without a word, ignore the scales of
float8 weights, and choose between variants by file names that must match exactly. So the networks are filled here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ..errors import ModelError
from .keys import TRANSPOSED

SUPPORTED = "Stable Diffusion 1.x, 2.x and SDXL checkpoints are supported"
PICKLE_SUFFIXES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
MAX_HEADER = 100_000_000
DTYPE_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "F8_E4M3": 1, "F8_E5M2": 1}
SAMPLES = 64
Samples = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """Tensors by name in one or several safetensors files; only the heads of the files have been read.

    label: what messages call the whole. files: name -> (file, name in the file). shapes: by the same names.
    metadata: the free text in the heads. whole: name in the file -> file, of everything, renamed or not.
    """

    label: str
    files: dict[str, tuple[Path, str]] = field(repr=False)
    shapes: dict[str, tuple[int, ...]] = field(repr=False)
    metadata: dict[str, str] = field(default_factory=dict)
    whole: dict[str, Path] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, label: str, paths: Iterable[Path]) -> Weights:
        """Read the heads of the files; raises ModelError for anything that is not a whole safetensors file."""
        found = cls(label, {}, {})
        for path in paths:
            shapes, metadata = read_header(path)
            found.metadata.update(metadata)
            found.shapes.update(shapes)
            found.files.update({name: (path, name) for name in shapes})
            found.whole.update(dict.fromkeys(shapes, path))
        return found

    def renamed(self, names: Mapping[str, str]) -> Weights:
        """The same tensors under other names, and no others. names: new name -> present name."""
        return replace(
            self,
            files={new: self.files[old] for new, old in names.items()},
            shapes={new: self.shapes[old] for new, old in names.items()},
        )

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """A function from a name to its tensor, float32 (or float64) on the CPU, while the files are open."""
        from safetensors import safe_open

        opened: dict[Path, Any] = {}

        def raw(path: Path, name: str) -> Tensor:
            if path not in opened:
                opened[path] = safe_open(str(path), framework="pt", device="cpu")
            return opened[path].get_tensor(name)

        def read(name: str) -> Tensor:
            path, stored = self.files[name]
            value = raw(path, stored)
            if not value.is_floating_point():
                kind = str(value.dtype).removeprefix("torch.")
                _fail(path, f"has a {kind} weight {stored} of shape {tuple(value.shape)}; {SUPPORTED}")
            value = value if value.dtype == torch.float64 else value.float()
            if scale := self._scale_name(stored):
                value = _scaled(path, stored, value, raw(self.whole[scale], scale).float())
            low, high = torch.aminmax(value) if value.numel() else (torch.zeros(()),) * 2
            if not (torch.isfinite(low) and torch.isfinite(high)):
                _fail(path, f"has NaN or infinite values in its weight {stored}; use another copy of the model")
            return value

        try:
            yield read
        finally:
            opened.clear()

    def _scale_name(self, stored: str) -> str | None:
        """Scaled float8 keeps a factor beside each weight, under one of two names."""
        start = stored.removesuffix("weight")
        if start == stored:
            return None
        return next((n for n in (f"{start}scale_weight", f"{start}weight_scale") if n in self.whole), None)


def fill(
    module: nn.Module,
    names: Mapping[str, str | tuple[str, int | None]],
    weights: Weights,
    dtype: torch.dtype,
    device: torch.device,
) -> Samples:
    """Give a module made on the meta device its weights, converted one at a time; returns samples of the originals.

    names: parameter -> name in `weights`, with the third of its rows where the file stacks three, or
        TRANSPOSED. There is never more
    in memory than the finished module and one tensor. Raises ModelError, naming the weight, where one is missing, has
    another shape, holds NaN or leaves the range of `dtype`.
    """
    state: dict[str, Tensor] = {}
    samples: Samples = {}
    with weights.reading() as read:
        for name, empty in module.state_dict().items():
            if name.endswith("position_ids"):  # a constant that older transformers save and newer ones do not
                state[name] = torch.arange(empty.shape[-1], device=device)[None]
                continue
            found = names[name]
            stored, third = (found, None) if isinstance(found, str) else found
            if stored not in weights.files:
                raise ModelError(f"{weights.label} lacks the weight {stored}; download the model again.")
            value = read(stored)
            if third == TRANSPOSED:
                value = value.t()
            elif third is not None:
                value = value.chunk(3)[third]
            # One layout's matrices are the other's 1x1 convolutions.
            shape, expected = ([side for side in t.shape if side != 1] for t in (value, empty))
            if shape != expected:
                path, original = weights.files[stored]
                _fail(
                    path,
                    f"has a weight {original} of shape {tuple(value.shape)}, not {tuple(empty.shape)}; {SUPPORTED}",
                )
            samples[name] = sample(value)
            # A copy in any case: the file is mapped into memory and may be replaced during the model's life.
            state[name] = value.reshape(empty.shape).to(device, dtype, copy=True)
            if dtype == torch.float16 and torch.isinf(state[name]).any():
                path, original = weights.files[stored]
                _fail(
                    path, f"has values in its weight {original} that float16 cannot hold; use dtype bfloat16 or float32"
                )
    module.load_state_dict(state, assign=True)
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta and name.endswith("position_ids"):
            owner = module.get_submodule(name.rpartition(".")[0])
            owner.position_ids = torch.arange(buffer.shape[-1], device=device)[None]
    return samples


def sample(weight: Tensor) -> Tensor:
    """Up to 64 evenly spaced values of a tensor, float32 on its device."""
    flat = weight.detach().reshape(-1)
    return flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES].float().clone()


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """The shape of every tensor by name, and the metadata, of a whole safetensors file; anything else is refused."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        _fail(path, "is missing; download the model again")
    except OSError as error:
        _fail(path, f"cannot be read ({error.strerror}); check its permissions")
    with file:
        start = file.read(64)
        file.seek(0, 2)
        size = file.tell()
        if _is_pickle(path, start):
            refuse_pickle(path)
        if start.startswith(b"GGUF"):
            _fail(path, "is a GGUF file, which only some programs can read; use a .safetensors version of the model")
        if start.startswith(b"version https://git-lfs"):
            _fail(path, "is a Git LFS pointer and not the weights; fetch the file itself with `git lfs pull`")
        length = int.from_bytes(start[:8], "little")
        if size < 10 or not start[8:].lstrip().startswith(b"{") or length > MAX_HEADER:
            page = start.lstrip().lower().startswith((b"<!doc", b"<html"))
            what = "a web page" if page else "something else"
            _fail(path, f"is not a safetensors file but {what}; download the checkpoint again")
        if 8 + length > size:
            _fail(path, "is cut off inside its header; download the checkpoint again")
        file.seek(8)
        raw = file.read(length)
    try:
        entries = json.loads(raw)
        metadata = dict(entries.pop("__metadata__", None) or {})
        shapes = {name: tuple(entry["shape"]) for name, entry in entries.items()}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        broken = [
            name
            for name, entry in entries.items()
            if (unit := DTYPE_BYTES.get(entry["dtype"]))
            and entry["data_offsets"][1] - entry["data_offsets"][0] != unit * prod(entry["shape"])
        ]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        _fail(path, "has a damaged safetensors header; download the checkpoint again")
    if 8 + length + end > size:
        missing = 8 + length + end - size
        _fail(path, f"is cut off ({missing} bytes are missing); download the checkpoint again")
    if broken:
        _fail(path, f"has a damaged entry {broken[0]!r} in its header; download the checkpoint again")
    return shapes, metadata


def refuse_pickle(path: Path) -> NoReturn:
    _fail(
        path,
        "holds pickled weights, and a pickle can run any code when it is opened; "
        "use a .safetensors version of the model",
    )


def _scaled(path: Path, name: str, value: Tensor, scale: Tensor) -> Tensor:
    """A weight times its factor: one for all, or one for each row."""
    if scale.numel() == 1:
        return value * scale.reshape(())
    if scale.numel() != len(value) or scale.numel() != scale.shape[0]:
        _fail(path, f"has scaled float8 weights, {name} in blocks, which cannot be read; use a float16 version")
    return value * scale.reshape(-1, *[1] * (value.ndim - 1))


def _is_pickle(path: Path, start: bytes) -> bool:
    """By suffix or by content: torch writes a zip archive, older versions a bare pickle (protocol 2 to 5)."""
    bare = start[:1] == b"\x80" and start[1:2] in b"\x02\x03\x04\x05" and start[8:9] != b"{"
    return path.suffix.lower() in PICKLE_SUFFIXES or start.startswith(b"PK\x03\x04") or bare


def _fail(path: Path, what: str) -> NoReturn:
    part = path.parent  # of a diffusers folder, where all parts' files have the same few names
    shown = [part.parent.name] if (part.parent / "model_index.json").is_file() else []
    shown += [part.name] if shown or (part / "config.json").is_file() else []
    raise ModelError(f"{'/'.join([*shown, path.name])} {what}.")
