"""The disk cache: tensors under a key, safe to delete at any time, limited in size, written atomically."""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

log = logging.getLogger("dragtext")

DEFAULT_LIMIT_MB = 2048

_folder: Path | None = None
_limit_mb: float | None = None


def configure(folder: Path | None = None, limit_mb: float | None = None) -> None:
    """Where a program that hosts the SDK keeps the cache, and how large it may grow. None leaves it to the default."""
    global _folder, _limit_mb
    _folder, _limit_mb = folder, limit_mb


def cache_folder() -> Path:
    """What DRAGTEXT_CACHE_DIR names, else what `configure` was told, else the platform's folder. It may not exist."""
    named = os.environ.get("DRAGTEXT_CACHE_DIR")
    if named or _folder:
        return Path(named or _folder or "")
    from platformdirs import user_cache_dir  # not among a WebUI's packages, where `configure` names the folder

    return Path(user_cache_dir("dragtext"))


def cache_limit() -> int:
    """Largest total size in bytes: DRAGTEXT_CACHE_LIMIT_MB, else what `configure` was told, else 2048 MB."""
    text = os.environ.get("DRAGTEXT_CACHE_LIMIT_MB", "")
    default = int((DEFAULT_LIMIT_MB if _limit_mb is None else _limit_mb) * 2**20)
    try:
        return int(float(text) * 2**20) if text else default
    except ValueError:
        log.warning("DRAGTEXT_CACHE_LIMIT_MB is %r, not a number; using %d.", text, default // 2**20)
        return default


def cache_size() -> int:
    """Bytes used now."""
    return sum(size for _, size, _ in _entries())


def clear() -> int:
    """Forget everything; returns the bytes that were freed."""
    freed = 0
    for _, size, path in _entries():
        with suppress(OSError):
            path.unlink()
            freed += size
    return freed


def make_key(*parts: object) -> str:
    """A file-name-safe key that changes with any part."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:40]


def load_tensors(key: str) -> dict[str, Tensor] | None:
    """Tensors stored under `key`, or None. A damaged entry is dropped with a warning, so that it is rebuilt."""
    path = _path(key)
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
        os.utime(path)  # recently used entries are the last to be pruned
    except Exception as error:  # whatever a damaged file raises, it is rebuilt
        log.warning("The cache entry %s is damaged (%s); it is rebuilt.", path.name, error)
        drop(key)
        return None
    return tensors


def drop(key: str) -> None:
    """Forget one entry."""
    with suppress(OSError):
        _path(key).unlink(missing_ok=True)


def save_tensors(key: str, tensors: dict[str, Tensor]) -> None:
    """Store tensors. A folder that cannot be written costs a warning and the cache, never the edit."""
    temporary = None
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cache_folder(), suffix=".tmp")
        os.close(handle)
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, temporary)
        Path(temporary).replace(_path(key))
        _prune(keep=_path(key))
    except Exception as error:  # safetensors raises its own error for a full or read-only disk
        log.warning("The cache in %s cannot be written (%s).", cache_folder(), error)
        if temporary is not None:
            with suppress(OSError):
                Path(temporary).unlink(missing_ok=True)


def _path(key: str) -> Path:
    return cache_folder() / f"{key}.safetensors"


def _entries() -> list[tuple[float, int, Path]]:
    """(last use, bytes, path) of every entry."""
    found = []
    if cache_folder().is_dir():
        for path in cache_folder().glob("*.safetensors"):
            with suppress(OSError):  # another process may prune at the same time
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
    return found


def _prune(keep: Path) -> None:
    entries = sorted(_entries())
    excess = sum(size for _, size, _ in entries) - cache_limit()
    for _, size, path in entries:
        if excess <= 0:
            return
        if path != keep:
            with suppress(OSError):
                path.unlink()
                excess -= size
