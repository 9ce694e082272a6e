"""A host for tests: the miniature model, a lock, and everything that happened written down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dragtext.extension.hosts.base import Accounts, Host, Notice
from dragtext.extension.options import BY_NAME
from dragtext.sdk.errors import DragTextError
from PIL import Image


class Lender(Host):
    name = "test"
    describers = ("clip",)

    def __init__(self, model: Any, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.options: dict[str, Any] = {"preview_every": 1}
        self.known = Accounts({}, {})
        self.events: list[str] = []
        self.saved: list[tuple[str, dict[str, str], bool]] = []
        self.notices: list[Notice] = []
        self.gone: DragTextError | None = None
        self.stop = self.lent = False
        self.hold = threading.Event()  # edits wait in their turn until it is set
        self.hold.set()
        self.lock = threading.Lock()
        self.on_describe: Callable[[Image.Image], str] = lambda picture: f"a picture of\n{picture.width} pixels"
        self.on_show: Callable[[Notice], None] = lambda _notice: None

    @contextmanager
    def turn(self, job: str) -> Iterator[None]:
        with self.lock:
            self.events.append("begin")
            assert self.hold.wait(60)
            try:
                yield
            finally:
                self.events.append("end")

    @contextmanager
    def lend(self, prompt: str, strength: float) -> Iterator[Any]:
        self.events.append(f"lend {prompt}")
        self.lent = True
        try:
            yield self.model
        finally:
            self.lent = False
            self.events.append("returned")

    def check(self) -> None:
        if self.lent and self.gone is not None:  # as in the hosts, which forget what they lent
            raise self.gone

    def show(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.on_show(notice)

    def interrupted(self) -> bool:
        return self.stop

    def save(
        self, picture: Image.Image, infotext: str, records: Mapping[str, str], prompt: str, seed: int, *, png: bool
    ) -> Path | None:
        self.saved.append((infotext, dict(records), png))
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "saved.png"
        picture.save(path)
        return path

    def describe(self, picture: Image.Image, way: str) -> str:
        assert self.lock.locked()  # in its turn
        self.events.append(f"describe {way}")
        return self.on_describe(picture)

    def option(self, name: str) -> Any:
        return self.options.get(name, BY_NAME[name].default)

    def accounts(self) -> Accounts:
        return self.known
