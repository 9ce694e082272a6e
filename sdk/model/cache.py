"""The disk cache: tensors under a key, safe to delete at any time, limited in size, written atomically.

It lives in a folder of its own inside the one that is named, and never looks at files whose names it did not give.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from safetensors.torch import load_file, save_file
from torch import Tensor

log = logging.getLogger("dragtext")

DEFAULT_LIMIT_MB = 2048
FOLDER = "dragtext-cache"
ENTRY = re.compile(r"[0-9a-f]{40}\.safetensors")
TEMPORARY = re.compile(r"[0-9a-f]{40}-\w{8}\.tmp")
ABANDONED = 3600.0  # seconds after which a temporary file is no write in progress

_folder: Path | None = None
_limit_mb: float | None = None


def configure(folder: Path | None = None, limit_mb: float | None = None) -> None:
    """Where a program that hosts the SDK keeps the cache, and how large it may grow. None leaves it to the default."""
    global _folder, _limit_mb
    _folder, _limit_mb = folder, limit_mb


def cache_folder() -> Path:
    """`dragtext-cache` in what DRAGTEXT_CACHE_DIR names, else what `configure` was told, else the platform's folder.

    It may not exist.
    """
    named = os.environ.get("DRAGTEXT_CACHE_DIR") or _folder
    if not named:
        from platformdirs import user_cache_dir  # not among a WebUI's packages, where `configure` names the folder

        named = user_cache_dir("dragtext")
    folder = Path(named)
    with suppress(RuntimeError):  # whose home nobody knows
        folder = folder.expanduser()
    return folder / FOLDER


def cache_limit() -> int:
    """Largest total size in bytes: DRAGTEXT_CACHE_LIMIT_MB, else what `configure` was told, else 2048 MB."""
    text = os.environ.get("DRAGTEXT_CACHE_LIMIT_MB", "")
    default = int((DEFAULT_LIMIT_MB if _limit_mb is None else _limit_mb) * 2**20)
    try:
        return int(float(text) * 2**20) if text else default
    except (ValueError, OverflowError):
        log.warning("DRAGTEXT_CACHE_LIMIT_MB is %r, not a number; using %d.", text, default // 2**20)
        return default


def cache_size() -> int:
    """Bytes used now, those of writes in progress and of writes that were never finished included."""
    return sum(file.size for file in _files())


def clear() -> int:
    """Forget everything but what is being written; returns the bytes that were freed."""
    return sum(_delete(file) for file in _files() if not file.in_progress)


def make_key(*parts: object) -> str:
    """40 hexadecimal digits that change with any part."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:40]


def load_tensors(key: str) -> dict[str, Tensor] | None:
    """Tensors stored under `key` (from `make_key`), or None. A damaged entry is dropped, so that it is rebuilt."""
    path = _path(key)
    try:
        if not path.exists():
            return None
        tensors = load_file(path)
    except OSError as error:
        log.warning("The cache entry %s cannot be read (%s); it is computed again.", path.name, error)
        return None
    except Exception as error:  # whatever a damaged file raises, it is rebuilt
        log.warning("The cache entry %s is damaged (%s); it is rebuilt.", path.name, error)
        with suppress(OSError):
            path.unlink()
        return None
    touch(key)
    return tensors


def touch(key: str) -> bool:
    """Count an entry as used now, so that it is among the last to be pruned; False where there is none."""
    path = _path(key)
    with suppress(OSError):  # somebody else's file, which is as good
        os.utime(path)
    return path.exists()


def save_tensors(key: str, tensors: dict[str, Tensor]) -> None:
    """Store tensors under `key` (from `make_key`). A folder that cannot be written costs a warning, never the edit."""
    folder, temporary = cache_folder(), None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=folder, prefix=f"{key}-", suffix=".tmp")
        os.close(handle)
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary)
        Path(temporary).replace(_path(key))
        _prune(keep=_path(key))
    except Exception as error:  # safetensors raises its own error for a full or read-only disk
        log.warning("The cache in %s cannot be written (%s).", folder, error)
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


class _File(NamedTuple):
    """A file of the cache, in the order in which they are dropped. used: when last, seconds since 1970."""

    used: float
    size: int
    path: Path

    @property
    def in_progress(self) -> bool:
        return self.path.suffix == ".tmp" and time.time() - self.used < ABANDONED


def _path(key: str) -> Path:
    return cache_folder() / f"{key}.safetensors"


def _files() -> list[_File]:
    found = []
    with suppress(OSError):  # no folder yet, or none that may be read
        for path in cache_folder().iterdir():
            if not (ENTRY.fullmatch(path.name) or TEMPORARY.fullmatch(path.name)):
                continue
            with suppress(OSError):  # another process may prune at the same time
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    found.append(_File(status.st_mtime, status.st_size, path))
    return found


def _prune(keep: Path) -> None:
    files = sorted(_files())
    excess = sum(file.size for file in files) - cache_limit()
    for file in files:
        abandoned = file.path.suffix == ".tmp" and not file.in_progress
        if abandoned or (excess > 0 and file.path != keep and not file.in_progress):
            excess -= _delete(file)


def _delete(file: _File) -> int:
    """Bytes that were freed."""
    try:
        file.path.unlink()
    except OSError:
        return 0
    return file.size
