"""`Editor` opens an image once and drags it many times; `edit` does it in one call."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .drag import loop_of
from .drag.problem import DragProblem
from .errors import InputError, InterruptedEditError
from .model import cache, identity
from .model.base import DiffusionModel, LatentDistribution, TextEmbedding
from .model.load import load_model
from .model.memory import memory_errors, peak_memory, start_measuring
from .model.schedule import TimeGrid, alpha_bar, invert, to_epsilon_x0
from .model.taps import low_rank_adapter, replace_mid
from .picture.frame import Frame, box_around
from .picture.masks import load_mask, mask_to_uri
from .picture.reading import load_image, to_pil
from .render.rendering import Rendering
from .request import Drag, Request, make_drags
from .result import DragReport, EditResult, Phase, Progress, Step, Trace
from .settings import ResolvedSettings, Settings, make_settings

log = logging.getLogger("dragtext")

NATIVE_PIXELS = 1024 * 1024  # pictures up to this area are worked on at their own size

OnProgress = Callable[[Progress], None]
ShouldStop = Callable[[], bool]


class Editor:
    """An image opened on a model.

    Encoding, the identity LoRA and the inversion are paid by the first drag that needs them; later drags reuse them.

    model: from `load_model`; image: path, PIL image, HxWx3 (or x4) uint8 RGB array, or the bytes of a picture file;
    prompt: what the image shows.
    """

    def __init__(self, model: DiffusionModel, image: Any, prompt: str = "") -> None:
        self._model: DiffusionModel | None = model
        self.prompt = prompt
        self._loaded = load_image(image)
        self._text: TextEmbedding | None = None
        self._latents: dict[Frame, LatentDistribution] = {}
        self._identities: dict[str, identity.IdentityWeights] = {}
        self._inverted: dict[tuple, Tensor] = {}

    def drag(
        self,
        drags: Any = None,
        *,
        source_points: Sequence[Sequence[float]] | None = None,
        target_points: Sequence[Sequence[float]] | None = None,
        mask: Any = None,
        settings: Settings | None = None,
        on_progress: OnProgress | None = None,
        should_stop: ShouldStop | None = None,
        trace: bool = False,
        **overrides: Any,
    ) -> EditResult:
        """Move what is under each handle to its target.

        drags: list of ((x0, y0), (x1, y1)) in pixels, of `Drag`, or the flat list [handle, target, ...]; or give
            source_points and target_points, two lists of equal length.
        mask: HxW, path, PIL image or bytes; positive = may change. None lets everything change.
        settings, overrides: a `Settings`, and single settings by name that override it (`steps=40`).
        on_progress: called with a `Progress` for every unit of work. should_stop: polled between units; once it
            returns True the drag ends with the state reached so far (`stopped == "interrupted"`), and an edit that has
            no state yet raises InterruptedEditError.
        trace: keep what the loop did in `result.trace`.

        Raises InputError for anything unusable, NotEnoughMemoryError, ModelError where the model itself gives NaN.
        """
        pairs = make_drags(drags, source_points=source_points, target_points=target_points)
        asked = make_settings(overrides, settings)
        size = self._loaded.rgb.shape[:2]
        Frame.of(*size).check_points(pairs)
        mask_array = None if mask is None else load_mask(mask, size)
        resolved = asked.resolve()
        frame = self.frame(resolved, pairs, mask_array)
        handles, targets = frame.to_grid(pairs)
        if mask_array is not None and not frame.mask_to_model(mask_array).any():
            raise InputError("The mask is too small for the working size; paint a larger area or use crop='auto'.")
        request = Request(pairs, self.prompt, None if mask_array is None else mask_to_uri(mask_array), asked)
        run = _Run(self, frame, resolved, on_progress, should_stop)
        with memory_errors():
            return run.edit(request, handles, targets, mask_array, trace)

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
        """(H, W, 3) uint8 RGB, what was opened."""
        return self._loaded.rgb

    @property
    def fingerprint(self) -> str:
        """Changes with the picture, the prompt and the model."""
        return cache.make_key(self.model.fingerprint, self._loaded.rgb.tobytes(), self.prompt)

    def frame(self, settings: Settings, drags: Sequence[Drag], mask: np.ndarray | None) -> Frame:
        """What part of the picture is worked on, and at what size."""
        height, width = self._loaded.rgb.shape[:2]
        box = box_around(drags, mask, (height, width)) if settings.crop == "auto" else (0, 0, height, width)
        side = settings.resolution
        if side is None and settings.crop == "auto":
            side = self.model.native_resolution
        elif side is None and height * width > NATIVE_PIXELS:
            side = self.model.native_resolution
            log.warning(
                "The picture has %dx%d pixels; all of it is worked on at about %dx%d and enlarged again. "
                "crop='auto' (--crop auto) changes only the part around the drags.",
                width,
                height,
                side,
                side,
            )
        pixels = None if side is None else side * side
        return Frame.of(height, width, self.model.size_multiple, pixels=pixels, box=box)


class _Run:
    """One edit: the phases in order, with their progress, timings and interruption."""

    def __init__(
        self,
        editor: Editor,
        frame: Frame,
        settings: ResolvedSettings,
        on_progress: OnProgress | None,
        should_stop: ShouldStop | None,
    ) -> None:
        self.editor, self.frame, self.model, self.settings = editor, frame, editor.model, settings
        self.times = TimeGrid.of(settings.strength, settings.inference_steps)
        self.timings: dict[str, float] = {}
        self._report = on_progress or (lambda _event: None)
        self._stop = should_stop or (lambda: False)

    def edit(
        self,
        request: Request,
        handles: np.ndarray,
        targets: np.ndarray,
        mask: np.ndarray | None,
        trace: bool,
    ) -> EditResult:
        start_measuring(self.model.device)
        text, latents = self._encode()
        weights, key = self._identity(text, latents)
        frame = self.frame
        with low_rank_adapter(self.model.unet, weights):
            inverted = self._invert(text, latents, key)
            problem = DragProblem(
                model=self.model,
                times=self.times,
                latent=inverted,
                text=text,
                handles=handles,
                targets=targets,
                grid=frame.grid,
                mask=None if mask is None else frame.mask_to_model(mask).to(inverted),
                settings=self.settings,
            )
            steps, interrupted = self._drag(problem)
        last = steps[-1]
        loaded = self.editor._loaded
        rendering = Rendering(
            model=self.model,
            settings=self.settings,
            frame=frame,
            level=last.level,
            latent_before=(inverted if last.reference is None else last.reference).cpu(),
            latent_after=last.latent.cpu(),
            bottleneck=None if last.bottleneck is None else last.bottleneck.cpu(),
            text_before=text.embedding.cpu(),
            text_after=last.text.cpu(),
            identity={path: (down.cpu(), up.cpu()) for path, (down, up) in weights.items()},
            original=loaded.rgb,
            alpha=loaded.alpha,
            mask=mask,
        )
        with self._timed("denoise"):
            # The drag is over and only this makes it visible, so a stop no longer applies.
            (image,) = rendering.sweep([1.0], lambda done, total: self._report(Progress("denoise", done, total)))
        trajectory = frame.to_pixels(np.stack([step.handles for step in steps]))
        return EditResult(
            image=image,
            drags=_reports(request.drags, trajectory),
            trajectory=trajectory,
            losses=tuple(step.loss for step in steps if step.loss is not None),
            reached=last.reached,
            stopped=_ending(last, interrupted),
            steps=sum(step.updated for step in steps),
            rendering=rendering,
            request=request,
            settings=self.settings,
            model=self.model.name,
            timings=self.timings,
            peak_memory=peak_memory(self.model.device),
            trace=_trace(problem, steps) if trace else None,
        )

    def _encode(self) -> tuple[TextEmbedding, LatentDistribution]:
        editor, frame = self.editor, self.frame
        with self._timed("encode"):
            if editor._text is None:
                editor._text = self.model.encode_text(editor.prompt)
            if frame not in editor._latents:
                image = frame.image_to_model(editor._loaded.rgb)
                editor._latents[frame] = self.model.encode_image(image.to(self.model.device))
        return editor._text, editor._latents[frame]

    def _identity(self, text: TextEmbedding, latents: LatentDistribution) -> tuple[identity.IdentityWeights, str]:
        """The LoRA of this image from memory, from disk, or fitted now; and the key it is cached under."""
        settings, editor = self.settings, self.editor
        total = settings.lora_steps
        if total == 0:
            return {}, ""
        key = cache.make_key(
            "identity",
            self.model.fingerprint,
            str(self.model.dtype),
            editor._loaded.rgb.tobytes(),
            self.frame,
            editor.prompt,
            (total, settings.lora_lr, settings.lora_rank, settings.lora_batch, settings.seed),
        )
        with self._timed("identity"):
            if key in editor._identities:
                return editor._identities[key], key
            stored = cache.load_tensors(key)
            weights = None
            if stored is not None:
                weights = identity.from_tensors(self.model, stored, settings.lora_rank)
            if weights is None:
                with closing(identity.fit(self.model, latents, text.embedding, settings)) as fitting:
                    for done, fitted in enumerate(fitting, start=1):
                        weights = fitted
                        self._tick("identity", done, total)
                assert weights is not None  # total > 0
                cache.save_tensors(key, identity.to_tensors(weights))
                weights = {path: (down.detach(), up.detach()) for path, (down, up) in weights.items()}
            editor._identities[key] = weights
        return weights, key

    def _invert(self, text: TextEmbedding, latents: LatentDistribution, identity_key: str) -> Tensor:
        key = (self.frame, self.times, identity_key)
        inverted = self.editor._inverted.get(key)
        with self._timed("invert"):
            if inverted is None:
                with closing(invert(self.model, self.times, latents.mean, text.embedding)) as levels:
                    for done, latent in enumerate(levels, start=1):
                        inverted = latent
                        self._tick("invert", done, len(self.times.timesteps))
                assert inverted is not None  # a grid has at least one timestep
                self.editor._inverted[key] = inverted
        return inverted

    def _drag(self, problem: DragProblem) -> tuple[list[Step], bool]:
        """All steps that are to be kept, and whether the user stopped the loop."""
        kept: list[Step] = []
        total = self.settings.steps
        with self._timed("drag"), closing(loop_of(self.settings.method)(problem)) as loop:
            for step in loop:
                if step.diverged and kept:
                    kept.pop()  # its update is what led to NaN
                kept.append(step)
                distance = float(np.mean(step.distances)) * self.frame.pixels_per_cell
                done = min(step.iteration + 1, total)
                points = tuple((float(x), float(y)) for x, y in self.frame.to_pixels(step.handles))
                self._report(Progress("drag", done, total, distance, step, points, partial(self._preview, step)))
                if step.updated and self._stop():
                    return kept, True
        return kept, False

    @torch.no_grad()
    def _preview(self, step: Step) -> Image.Image:
        """What the step's latent would become if the noise that the U-Net sees in it now were taken away at once."""
        latent = step.latent
        if step.level < len(self.times.timesteps):
            timestep = self.times.timesteps[step.level]
            with nullcontext() if step.bottleneck is None else replace_mid(self.model, step.bottleneck):
                prediction = self.model.predict(latent, timestep, step.text)
            abar = alpha_bar(self.model, timestep)
            _, latent = to_epsilon_x0(prediction, latent, abar, self.model.prediction_type)
        loaded = self.editor._loaded
        return to_pil(self.frame.image_from_model(self.model.decode(latent), loaded.rgb), None)

    def _tick(self, phase: Phase, done: int, total: int) -> None:
        self._report(Progress(phase, done, total))
        if self._stop():
            raise InterruptedEditError("Stopped before the drag began, so there is nothing to save.")

    @contextmanager
    def _timed(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.timings[phase] = self.timings.get(phase, 0.0) + time.perf_counter() - start


def edit(
    image: Any,
    drags: Any = None,
    *,
    prompt: str = "",
    mask: Any = None,
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
        settings=settings,
        on_progress=on_progress,
        should_stop=should_stop,
        trace=trace,
        **overrides,
    )


def _reports(drags: Sequence[Drag], trajectory: np.ndarray) -> tuple[DragReport, ...]:
    reports = []
    for drag, final in zip(drags, trajectory[-1]):
        before = np.hypot(*np.subtract(drag.target, drag.source))
        after = np.hypot(*np.subtract(drag.target, final))
        end = (float(final[0]), float(final[1]))
        reports.append(DragReport(drag.source, drag.target, end, float(before), float(after)))
    return tuple(reports)


def _ending(last: Step, interrupted: bool) -> Any:
    if last.diverged:
        return "diverged"
    if last.reached:
        return "reached"
    if interrupted:
        return "interrupted"
    return "stuck" if last.stuck else "steps"


def _trace(problem: DragProblem, steps: Sequence[Step]) -> Trace:
    done = [step for step in steps if step.updated]
    bottlenecks = [step.bottleneck for step in done if step.bottleneck is not None]
    shape = (0, *problem.handles.shape)
    return Trace(
        handles=np.stack([s.handles for s in done]) if done else np.zeros(shape),
        loss=np.array([s.loss for s in done], dtype=np.float64),
        latent=torch.cat([problem.latent, *(s.latent for s in done)]).cpu().numpy(),
        text=torch.cat([problem.text.embedding, *(s.text for s in done)]).cpu().numpy(),
        bottleneck=torch.cat(bottlenecks).cpu().numpy() if bottlenecks else None,
    )
