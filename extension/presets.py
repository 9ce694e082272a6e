"""Settings that somebody has given a name: one JSON file, written as a whole or not at all."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

from ..sdk.errors import DragTextError, InputError
from ..sdk.picture.files import write_atomically
from ..sdk.settings import given_settings, make_settings

log = logging.getLogger("dragtext")

FILE = "presets.json"
MOST = 100
LONGEST_NAME = 60


class UnknownPresetError(DragTextError):
    """There is no preset of this name."""


class Presets:
    """folder: where the file lies or will lie; None: DRAGTEXT_CONFIG_DIR, or the platform's place for such files."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        named = os.environ.get("DRAGTEXT_CONFIG_DIR") or self._folder
        if not named:
            from platformdirs import user_config_dir  # not among a WebUI's packages, where the host names the folder

            named = user_config_dir("dragtext")
        return Path(named) / FILE

    def all(self) -> dict[str, dict[str, Any]]:
        """Name -> settings, in the order in which they were made. What today's settings do not have is left out."""
        with self._lock:
            stored = self._read()
        usable = {}
        for name, settings in stored.items():
            try:
                usable[name] = given_settings(make_settings(settings))
            except InputError as error:
                log.warning("The preset %s cannot be used any more: %s", name[:LONGEST_NAME], error)
        return usable

    def put(self, name: str, settings: Any) -> None:
        """Keep settings under a name. Raises InputError."""
        if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
            raise InputError(f"The name of a preset has 1 to {LONGEST_NAME} letters that can be seen.")
        if not isinstance(settings, dict):
            raise InputError("settings is an object of names and values.")
        chosen = given_settings(make_settings(settings))
        with self._lock:
            stored = self._read()
            if name not in stored and len(stored) >= MOST:
                raise InputError(f"There are {MOST} presets already; delete one first.")
            self._write({**stored, name: chosen})

    def delete(self, name: str) -> None:
        """Raises UnknownPresetError, InputError."""
        with self._lock:
            stored = self._read()
            if name not in stored:
                raise UnknownPresetError(f"There is no preset {name[:LONGEST_NAME]}.")
            del stored[name]
            self._write(stored)

    def _read(self) -> dict[str, Any]:
        path = self.path
        try:
            text = path.read_text(encoding="utf-8") if path.is_file() else "{}"
            stored = json.loads(text)
        except (OSError, ValueError, RecursionError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"The presets in {path.name} cannot be read ({reason}); mend or remove it.") from None
        if not isinstance(stored, dict) or not all(isinstance(value, dict) for value in stored.values()):
            raise InputError(f"The file {path.name} holds no presets; mend or remove it.")
        return stored

    def _write(self, presets: dict[str, Any]) -> None:
        path = self.path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder for presets cannot be made ({error.strerror}).") from None
        text = json.dumps(presets, indent=2, ensure_ascii=False)
        write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
