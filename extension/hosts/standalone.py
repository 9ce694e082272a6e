"""No WebUI: a model of our own, a queue of our own. For `dragtext ui` and for tests in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...sdk.errors import ModelError
from ...sdk.evaluation.recognise import recognise
from ...sdk.model.base import DiffusionModel
from ...sdk.model.load import load_model, recommended_of
from ...sdk.model.recommended import Recommended
from ...sdk.picture.files import write_atomically
from ..options import BY_NAME
from ..pictures import png_file
from .base import Accounts, Host, Notice
from .preparation import gradients_allowed


class Standalone(Host):
    """model, vae: as for `load_model`, loaded by the first edit; output: folder for results; options: by name, over the
    defaults; has_public_api: whether the HTTP API is there."""

    name = "DragText"

    def __init__(
        self,
        model: str | None = None,
        *,
        output: Path,
        accounts: Accounts | None = None,
        options: Mapping[str, Any] | None = None,
        has_public_api: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        vae: str | None = None,
    ) -> None:
        self.has_public_api = has_public_api
        self.describers = () if model else ("toys",)  # the embedded model's world is known
        self._source, self._device, self._dtype, self._vae = model, device, dtype, vae
        self._output = output
        self._accounts = accounts or Accounts({}, {})
        self._options = dict(options or {})
        self._model: DiffusionModel | None = None
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, job: str) -> Iterator[None]:
        with self._lock:
            yield

    @contextmanager
    def lend(self, prompt: str, strength: float) -> Iterator[DiffusionModel]:
        if self._model is None:
            self._model = load_model(self._source, device=self._device, dtype=self._dtype, vae=self._vae)
        with gradients_allowed():
            yield self._model

    def describe(self, picture: Image.Image, way: str) -> str:
        seen = recognise(np.array(picture))
        if seen is None:
            raise ModelError("No toy was recognised; the embedded model knows nothing else.")
        return " ".join(seen)

    def recommended(self) -> Recommended:
        if self._model is not None:
            return self._model.recommended
        return recommended_of(self._source)

    def show(self, notice: Notice) -> None:
        """There is no bar but the tab's."""

    def interrupted(self) -> bool:
        return False

    def save(
        self, picture: Image.Image, infotext: str, records: Mapping[str, str], prompt: str, seed: int, *, png: bool
    ) -> Path | None:
        if not self.option("save"):
            return None
        folder = Path(self.option("output_folder") or self._output) / date.today().isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        numbers = (path.stem.partition("-")[0] for path in folder.glob("[0-9]*-*.png"))
        taken = [int(number) for number in numbers if number.isdecimal()]
        path = folder / f"{max(taken, default=-1) + 1:05d}-{seed}.png"
        data = png_file(picture, infotext, records)  # in memory first: Pillow does not notice a full disk
        return write_atomically(path, lambda temporary: temporary.write_bytes(data))

    def option(self, name: str) -> Any:
        return self._options.get(name, BY_NAME[name].default)

    def accounts(self) -> Accounts:
        return self._accounts
