"""`Editor` opens an image once and drags it many times; `edit` does it in one call."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .drag import check_edit, most_steps
from .drag.deform import drag_kind
from .drag.regions import choose_regions
from .drag.start import warp_picture
from .errors import InputError
from .model import cache
from .model.base import DiffusionModel
from .model.load import load_model
from .model.memory import memory_errors
from .model.recommended import for_kind
from .picture.frame import Frame
from .picture.masks import load_regions, mask_to_uri, read_limits
from .picture.placement import Placement, place
from .picture.reading import load_image
from .picture.segmentation import mask_around
from .prepared import Prepared
from .request import Drag, Request, make_drags
from .result import EditResult, Progress
from .run import EditRun, Phases
from .settings import Settings, make_settings, with_recommended

log = logging.getLogger("dragtext")

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


class Editor:
    """An image opened on a model.

    Encoding, the identity LoRA and the inversion are paid by the first drag that needs them; later drags reuse them.
    A model serves one edit at a time: a drag waits while another thread, of this editor or another, works on its model.
    What torch is set to by the caller (no_grad, inference_mode, autocast, default type and device) does not matter.

    model: from `load_model`; image: path, PIL image, HxWx3 (or x4) uint8 RGB array, the bytes of a picture file, or a
    `LoadedImage`; prompt: what the image shows.
    """

    def __init__(self, model: DiffusionModel, image: Any, prompt: str = "") -> None:
        self._model: DiffusionModel | None = model
        self._prompt = prompt
        self._loaded = load_image(image)
        for pixels in (self._loaded.rgb, self._loaded.visible):
            pixels.flags.writeable = False  # what is prepared belongs to this picture
        self._prepared = Prepared(self._loaded.visible, prompt)
        self._said: set[str] = set()

    @classmethod
    def from_pipeline(cls, pipe: Any, image: Any, prompt: str = "") -> Editor:
        """Open an image on a diffusers pipeline that is loaded already; its own modules compute.

        pipe: a `StableDiffusionPipeline` of 1.x or 2.x or a `StableDiffusionXLPipeline`, with whatever LoRAs it has;
        between two edits it is exactly what it was, and may be used. During one it may not. image, prompt: as for
        `Editor`.

        Raises InputError for a pipeline in a state that does not allow it (offloading, quantisation, IP-Adapter), with
        the call that ends it, and ModelError for one of another kind.
        """
        from .model.pipeline import PipelineModel

        return cls(PipelineModel(pipe), image, prompt)

    @property
    def prompt(self) -> str:
        """What the image shows. Another prompt is another editor."""
        return self._prompt

    def drag(
        self,
        drags: Any = None,
        *,
        source_points: Sequence[Sequence[float]] | None = None,
        target_points: Sequence[Sequence[float]] | None = None,
        mask: Any = None,
        region: Any = None,
        settings: Settings | None = None,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
        trace: bool = False,
        **overrides: Any,
    ) -> EditResult:
        """Move what is under each handle to its target.

        drags: list of ((x0, y0), (x1, y1)) in pixels, of `Drag`, or the flat list [handle, target, ...]; or give
            source_points and target_points, two lists of equal length.
        mask: HxW, path, PIL image or bytes, see `load_mask`; what is brighter than the middle may change, everything
            else comes back byte for byte (but for a soft seam of a few pixels; see `Settings.composite`). None lets
            everything change, and so does one that is white all over.
        region: what the drags carry, in the same forms, or a list of these with one per drag. Where only this is given,
            the mask follows from it. Left out, edits with a start look for it (`EditResult.region`).
        settings, overrides: a `Settings`, and single settings by name that override it (`steps=40`).
        on_progress: called with a `Progress` for every unit of work. should_stop: polled between units; once it
            returns True the drag ends with the state reached so far (`stopped == "interrupted"`), and an edit that has
            no state yet raises InterruptedEditError.
        trace: keep what the loop did in `result.trace`.

        Raises InputError for anything unusable, NotEnoughMemoryError, ModelError where the model itself gives NaN, and
        ModelInUseError in the middle of another edit of the same thread.
        """
        run = self.steps(
            drags,
            source_points=source_points,
            target_points=target_points,
            mask=mask,
            region=region,
            settings=settings,
            trace=trace,
            **overrides,
        )
        with run:
            for progress in run:
                if on_progress is not None:
                    on_progress(progress)
                if should_stop is not None and progress.phase != "denoise" and should_stop():
                    run.stop()
            return run.result()

    def steps(
        self,
        drags: Any = None,
        *,
        source_points: Sequence[Sequence[float]] | None = None,
        target_points: Sequence[Sequence[float]] | None = None,
        mask: Any = None,
        region: Any = None,
        settings: Settings | None = None,
        trace: bool = False,
        **overrides: Any,
    ) -> EditRun:
        """The same edit as an iterator of `Progress`, for whoever wants to look at every step or to leave in between.

        Arguments and errors as for `drag`; what is wrong with them is said at once. See `EditRun`.
        """
        pairs = make_drags(drags, source_points=source_points, target_points=target_points)
        asked = make_settings(overrides, settings)
        size = self._loaded.rgb.shape[:2]
        Frame.of(*size).check_points(pairs)
        painted, notes = read_limits(mask, size)
        given = load_regions(region, size)
        asked, taken = self._with_recommended(asked, pairs)
        self._check_steps(asked)
        regions = None
        if asked.resolve().start != "none":
            regions = choose_regions(self._loaded.visible, pairs, painted, given)
            notes = (*notes, *regions.notes)
        room = painted
        carried = np.any(given, axis=0) if given else None if regions is None else regions.union
        if room is None and carried is not None:
            room = mask_around(carried, pairs)
        placement = self._place(asked, pairs, room, (*notes, *_vain(asked, room is not None)))
        if room is not None and not placement.mask(room).any():
            raise InputError("The mask is too small for the working size; paint a larger area or use crop='auto'.")
        uris = tuple(mask_to_uri(one) for one in given)
        request = Request(
            pairs,
            self.prompt,
            None if painted is None else mask_to_uri(painted),
            asked,
            (uris[0] if len(uris) == 1 else uris) if uris else None,
        )
        return EditRun(
            Phases(self.model, self._prepared, self._loaded, request, placement, room, regions, taken, trace)
        )

    def _with_recommended(self, asked: Settings, drags: tuple[Drag, ...]) -> tuple[Settings, dict[str, Any]]:
        """With the model's own settings for such drags where nothing else was asked for; and which these are."""
        if not self.model.recommended:
            return asked, {}
        ends = (np.array([getattr(drag, end) for drag in drags]) for end in ("source", "target"))
        return with_recommended(asked, for_kind(self.model.recommended, drag_kind(*ends)))

    def preview(self, drags: Any, *, mask: Any = None, region: Any = None) -> Image.Image:
        """What a warped start makes of the picture, without the model: a rough look at what an edit will be.

        drags, mask, region: as for `drag`. The place that is left is filled from around it, never blank. Returns a
        picture of the input's size. Raises InputError.
        """
        pairs = make_drags(drags)
        size = self._loaded.rgb.shape[:2]
        Frame.of(*size).check_points(pairs)
        painted, _ = read_limits(mask, size)
        regions = choose_regions(self._loaded.visible, pairs, painted, load_regions(region, size))
        return Image.fromarray(warp_picture(self._loaded.visible, regions.moves).picture)

    @property
    def model(self) -> DiffusionModel:
        if self._model is None:
            raise RuntimeError("this editor's model was taken back; attach it again before use")
        return self._model

    @contextmanager
    def attached(self, model: DiffusionModel) -> Iterator[Editor]:
        """For hosts that lend their model for one edit at a time: work on `model`, and keep no reference afterwards.

        model: the same weights as before; what the editor has computed is used again on them.
        """
        self._model = model
        try:
            yield self
        finally:
            self._model = None

    @property
    def picture(self) -> np.ndarray:
        """(H, W, 3) uint8 sRGB, what was opened; it cannot be written to."""
        return self._loaded.rgb

    @property
    def fingerprint(self) -> str:
        """Changes with the picture, the prompt and the model."""
        return cache.make_key(self._prepared.fingerprint(self.model), self._loaded.fingerprint)

    def _check_steps(self, asked: Settings) -> None:
        """Say, before any work, what of the drag's method and steps cannot be."""
        resolved = asked.resolve()
        if resolved.method == "warp" and resolved.start == "none":
            raise InputError("The method warp is nothing but its start; leave start out or choose another method.")
        check_edit(resolved, self.model)
        if resolved.has_loop:
            self.model.layout.stage(resolved.feature_block)
        if asked.steps is not None and asked.steps > most_steps(resolved):
            log.warning(
                "Of %d steps only %d can be made with these settings; make room with more tracks_per_level, "
                "steps_per_track or inference_steps, and leave drag_levels open.",
                asked.steps,
                most_steps(resolved),
            )

    def _place(
        self, settings: Settings, drags: Sequence[Drag], mask: np.ndarray | None, notes: tuple[str, ...] = ()
    ) -> Placement:
        """Says what there is to say about it before any work, each sentence once; `notes` come first."""
        size, model = self._loaded.rgb.shape[:2], self.model
        placement = place(size, settings.resolve(), drags, mask, model.native_resolution, model.size_multiple)
        placement = replace(placement, notes=(*notes, *placement.notes))
        for note in placement.notes:
            if note not in self._said:
                self._said.add(note)
                log.warning(note)
        return placement


def _vain(asked: Settings, masked: bool) -> Iterator[str]:
    """Sentences about what was asked for and does nothing."""
    if asked.negative_prompt and not asked.resolve().guided:
        yield "The negative prompt is not read without guidance; give guidance=2 or more (--guidance 2)."
    if asked.hold_background and not masked:
        yield "Without a mask there is no background to hold."


def edit(
    image: Any,
    drags: Any = None,
    *,
    prompt: str = "",
    mask: Any = None,
    region: Any = None,
    model: DiffusionModel | str | Path | None = None,
    source_points: Sequence[Sequence[float]] | None = None,
    target_points: Sequence[Sequence[float]] | None = None,
    settings: Settings | None = None,
    on_progress: OnProgress | None = None,
    should_stop: ShouldStop | None = None,
    trace: bool = False,
    **overrides: Any,
) -> EditResult:
    """Drag an image in one call; see `Editor.drag` for the arguments.

    model: a loaded model, a path for `load_model`, or None for the model that ships with the project.
    """
    if not isinstance(model, DiffusionModel):
        # A wrong point or setting should not cost the time to load a model.
        make_drags(drags, source_points=source_points, target_points=target_points)
        make_settings(overrides, settings)
        with memory_errors():
            model = load_model(model)
    return Editor(model, image, prompt).drag(
        drags,
        source_points=source_points,
        target_points=target_points,
        mask=mask,
        region=region,
        settings=settings,
        on_progress=on_progress,
        should_stop=should_stop,
        trace=trace,
        **overrides,
    )
