"""A run is a folder: what it is about, a line of JSON per edit as it ends, pictures.

It can be stopped, gone on with, and worked on by several processes at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import InputError
from ..picture.files import check_writable, make_folder, write_atomically
from .tasks import Key, Task, arm_name, file_name

FORMAT = 1
MANIFEST, ROWS, CLAIMS = "manifest.json", "rows.jsonl", "claims"
_WAIT = 60  # seconds for another process to end its line


class RunFolder:
    """manifest.json says what was planned; rows.jsonl holds what has ended; pictures/ITEM/ARM-SEED.png came out.

    Rows are only ever appended, each with one write under a lock; of several with one key the last counts. A line that
    a crash cut short is as if it were not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[Key, dict[str, Any]] = {}
        self._read = 0  # bytes of the rows' file that are in `_rows`

    @classmethod
    def begin(cls, path: Path, manifest: Mapping[str, Any]) -> RunFolder:
        """Make the folder, or go on with one whose arms are these.

        manifest: title, command, versions, arms (name -> settings), seeds, items, metrics. Raises InputError where it
        cannot be written, or holds something else.
        """
        folder = cls(path)
        check_writable(make_folder(path) / ROWS)
        with folder._alone("manifest"):
            if (path / MANIFEST).exists():
                known = folder.manifest()
                _check_arms(path, known["arms"], manifest["arms"])
                folder._write({**known, **manifest, "arms": known["arms"] | manifest["arms"]})
            elif any(entry.name != CLAIMS for entry in path.iterdir()):
                raise InputError(f"The folder {path} holds other files and no run; give an empty or a new one.")
            else:
                now = datetime.now(timezone.utc).isoformat("T", "seconds")
                folder._write({"format": FORMAT, "created": now, **manifest})
        return folder

    def confirm(self, model: Mapping[str, str], device: str) -> None:
        """Before a worker begins: note the model (name, fingerprint) and where it computes.

        Raises InputError where what is there was done by another model.
        """
        with self._alone("manifest"):
            known = self.manifest()
            was = known.get("model")
            if was and was["fingerprint"] != model["fingerprint"]:
                raise InputError(
                    f"The run in {self.path} is of the model {was['name']}, not {model['name']}; give another folder."
                )
            devices = sorted({*filter(None, str(known.get("device", "")).split(", ")), device})
            self._write({**known, "model": dict(model), "device": ", ".join(devices)})

    def manifest(self) -> dict[str, Any]:
        """Raises InputError where the folder holds no run that can be read."""
        try:
            found = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"The folder {self.path} holds no run that can be read ({MANIFEST}: {reason}).") from None
        if not isinstance(found, dict) or found.get("format") != FORMAT or not isinstance(found.get("arms"), dict):
            raise InputError(f"{self.path / MANIFEST} is of another version of DragText, or of something else.")
        return found

    def rows(self) -> dict[Key, dict[str, Any]]:
        """What has ended, in the order in which it first did. Only what has come since the last call is read."""
        try:
            with (self.path / ROWS).open("rb") as file:
                file.seek(self._read)
                text = file.read()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise InputError(f"{self.path / ROWS} cannot be read ({error.strerror}).") from None
        whole = text[: text.rfind(b"\n") + 1]  # somebody may be writing the rest
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                row = json.loads(line)
                self._rows[row["item"], row["arm"], row["seed"]] = row
            except (ValueError, KeyError, TypeError):
                continue
        return dict(self._rows)

    def done(self) -> frozenset[Key]:
        """What need not be done again; a failure may have been one of the moment, and is tried again."""
        return frozenset(key for key, row in self.rows().items() if not row.get("error"))

    def add(self, row: Mapping[str, Any]) -> None:
        line = (json.dumps(row) + "\n").encode()
        with self._alone("rows"):
            try:
                with (self.path / ROWS).open("ab+") as file:
                    if file.tell():
                        file.seek(-1, 2)
                        if file.read(1) != b"\n":  # cut short by a crash
                            line = b"\n" + line
                    file.write(line)
            except OSError as error:
                raise InputError(f"{self.path / ROWS} cannot be written ({error.strerror}).") from None

    @contextmanager
    def claim(self, group: str) -> Iterator[bool]:
        """Whether the group is this process's for the length of the block. A process that dies lets go of it."""
        lock = self._lock("group-" + hashlib.sha256(group.encode()).hexdigest()[:16])
        try:
            lock.acquire(timeout=0)
        except Timeout:
            yield False
            return
        try:
            yield True
        finally:
            lock.release()

    def picture(self, task: Task) -> Path:
        """Where an edit's picture goes; its folder is there afterwards."""
        return self.beside(task.item, f"{arm_name(task.arm)}-{task.seed}.png")

    def beside(self, item: str, name: str) -> Path:
        """A file of an item's folder, which is there afterwards."""
        return make_folder(self.path / "pictures" / file_name(item)) / name

    def _write(self, manifest: Mapping[str, Any]) -> None:
        text = json.dumps(manifest, indent=1)
        write_atomically(self.path / MANIFEST, lambda file: file.write_text(text, encoding="utf-8"))

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """While this process writes a file, no other does."""
        lock = self._lock(name)
        try:
            lock.acquire(timeout=_WAIT)
        except Timeout:
            raise InputError(f"Another process has kept {self.path} to itself for a minute; end it.") from None
        try:
            yield
        finally:
            lock.release()

    def _lock(self, name: str) -> FileLock:
        return FileLock(make_folder(self.path / CLAIMS) / f"{name}.lock")


def _check_arms(path: Path, known: Mapping[str, Any], planned: Mapping[str, Any]) -> None:
    for name, settings in planned.items():
        if known.get(name, settings) != settings:
            raise InputError(f"The run in {path} has other settings for {name}; give another folder.")
