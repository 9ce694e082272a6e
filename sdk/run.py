"""One edit: its phases in order, a unit of work at a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from threading import get_ident
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .clock import Clock
from .drag import loop_of, most_steps
from .drag.cells import fresh_noise, move_cells, move_field
from .drag.deform import transform_kind
from .drag.problem import DragProblem
from .drag.regions import Regions
from .drag.start import Start, warp_picture
from .errors import InputError, InterruptedEditError
from .model.base import Conditioning, DiffusionModel
from .model.capture import Captures
from .model.exclusive import Turn, exclusive, plain_torch
from .model.guidance import Guidance, predict
from .model.identity import IdentityWeights
from .model.means import NONE
from .model.memory import memory_errors, peak_memory, start_measuring
from .model.schedule import TimeGrid, alpha_bar, to_epsilon_x0
from .model.taps import low_rank_adapter, replace_mid
from .outcome import ending, reports, trace_of
from .picture.composing import Kept, compose
from .picture.placement import Placement
from .picture.reading import LoadedImage
from .prepared import Prepared
from .render.rendering import Rendering
from .request import Drag, Request
from .result import EditResult, Progress, Step
from .thrift import Thrift

log = logging.getLogger("dragtext")


class EditRun:
    """An edit under way, as `Editor.steps` gives it: an iterator of `Progress`, one for every unit of work.

    Nothing is computed before the first one is asked for. From then on the run holds the model: other threads wait for
    it, and this thread may do nothing else with the model. It lets go of it at the end, after an error, with `close` or
    a `with` block, and when nothing refers to it any more. `stop` may be called from any thread at any time; everything
    else by one thread at a time.

        run = editor.steps(drags)
        for progress in run:
            if progress.distance is not None and progress.distance < 5:
                break
        result = run.result()
    """

    def __init__(self, phases: Phases) -> None:
        self._phases = phases
        self._events = phases.run()
        self._phase: str | None = None
        self._result: EditResult | None = None
        self._stopped = self._closed = False

    def __iter__(self) -> EditRun:
        return self

    def __next__(self) -> Progress:
        if self._closed:
            raise StopIteration
        if self._stopped and self._phase in (None, "identity", "invert"):
            self.close()
            raise InterruptedEditError("Stopped before the drag began, so there is nothing to save.")
        try:
            with memory_errors(), plain_torch(self._phases.model.device):
                progress = self._phases.advance(self._events)
        except StopIteration as end:
            self._result, self._closed = end.value, True
            raise
        except BaseException:
            self._closed = True
            raise
        self._phase = progress.phase
        return progress

    def stop(self) -> None:
        """End the drag with the state reached so far; what is left is the rendering.

        The next `next` or `result` raises InterruptedEditError where no drag has begun. Once it is over it goes on.
        """
        self._stopped = self._phases.stopped = True

    def result(self) -> EditResult:
        """The outcome. A drag that is still going on is stopped first (`EditResult.stopped` is "interrupted").

        Raises InterruptedEditError where no drag has begun, and after `close` or an error.
        """
        if not self._closed:
            self.stop()
            for _ in self:
                pass
        if self._result is None:
            raise InterruptedEditError("This edit was ended before there was a result; start it again.")
        return self._result

    def close(self) -> None:
        """Give the model back at once; without a result, unless the run was at its end."""
        self._closed = True
        self._events.close()

    def __enter__(self) -> EditRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class Phases:
    """What an edit consists of. Refers to no `EditRun`, so that one that was left is gone at once.

    loaded: the picture; mask: (H, W) of the picture, or None; regions: what the drags carry, for edits with a start;
    recommended: which of the settings came with the model.
    """

    def __init__(
        self,
        model: DiffusionModel,
        prepared: Prepared,
        loaded: LoadedImage,
        request: Request,
        placement: Placement,
        mask: np.ndarray | None,
        regions: Regions | None,
        recommended: dict[str, Any],
        trace: bool,
    ) -> None:
        self.model, self.stopped = model, False
        self._recommended = recommended
        self._regions = regions
        self._start: Start | None = None
        self._prepared, self._loaded, self._request = prepared, loaded, request
        self._placement, self._settings, self._frame = placement, placement.settings, placement.frame
        self._mask, self._trace = mask, trace
        self._handles, self._targets = self._frame.to_grid(request.drags)
        self._times = TimeGrid.of(self._settings.strength, self._settings.inference_steps)
        self._clock = Clock(model.device)
        self._thrift = Thrift(model)
        self._turn: Turn | None = None
        self._step: Step | None = None
        self._text: Conditioning | None = None
        self._guidance: Guidance | None = None

    def advance(self, events: Generator[Progress, None, EditResult]) -> Progress:
        """The next event of `run`; the caller's own time between two of them is not counted."""
        if self._turn is not None:
            self._turn.holder = get_ident()
        self._step = None
        self._clock.go_on()
        try:
            return next(events)
        finally:
            self._clock.pause()

    def run(self) -> Generator[Progress, None, EditResult]:
        """All phases, from the encoding to the picture."""
        with exclusive(self.model) as self._turn, self._thrift:
            model, settings, prepared, frame = self.model, self._settings, self._prepared, self._frame
            start_measuring(model.device)
            self._thrift.begin(frame.padded, settings, self._mask is not None)
            self._clock.begin("encode")

            def encode() -> Generator[Progress, None, None]:
                traits = self._thrift.traits
                self._text = prepared.text(model, frame, traits)
                self._guidance = prepared.guidance(model, frame, self._times, settings, traits)
                prepared.latents(model, frame, traits)
                yield from ()

            yield from self._thrift.tried(encode)
            text = self._text
            assert text is not None  # encoded just now
            if settings.lora_steps:
                self._clock.begin("identity")
            weights = yield from self._thrift.tried(
                lambda: prepared.identity(model, frame, settings, self._thrift.means)
            )
            self._thrift.keep_numbers()
            with low_rank_adapter(model.unet, weights):
                self._clock.begin("invert")
                inverted, begin = yield from self._thrift.tried(self._inverted)
                problem = DragProblem(
                    model=model,
                    times=self._times,
                    latent=inverted,
                    text=text,
                    handles=self._handles,
                    targets=self._targets,
                    grid=frame.grid,
                    mask=self._latent_mask(inverted),
                    settings=settings,
                    start=begin,
                    start_handles=None if begin is None else self._targets,
                    guidance=self._guidance,
                    recall=self._recall,
                )
                self._clock.begin("drag")
                steps, interrupted = yield from self._thrift.tried(lambda: self._drag(problem))
            rendering = self._rendering(problem, steps[-1], weights)
            self._clock.begin("denoise")
            # The drag is over and only this makes it visible, so a stop no longer applies.
            image = yield from self._thrift.tried(lambda: _drawn(rendering))
            self._clock.pause()
            return self._outcome(problem, steps, interrupted, rendering, image)

    def _inverted(self) -> Generator[Progress, None, tuple[Tensor, Tensor | None]]:
        """The picture's latent, and the one that the drag begins with where that is another."""
        inverted = yield from self._prepared.inverted(
            self.model, self._frame, self._times, self._settings, means=self._thrift.means
        )
        begin = None if self._regions is None else (yield from self._begin(inverted, self._regions))
        return inverted, begin

    def _begin(self, inverted: Tensor, regions: Regions) -> Generator[Progress, None, Tensor]:
        """The latent that the drag begins with: of the moved picture, or with its cells moved."""
        frame, settings = self._frame, self._settings

        def ends(drags: Sequence[Drag]) -> tuple[np.ndarray, np.ndarray]:
            return (
                frame.to_working([drag.source for drag in drags]),
                frame.to_working([drag.target for drag in drags]),
            )

        self._start = start = warp_picture(self._loaded.visible, regions.moves)
        if settings.start == "warp":
            begin = yield from self._prepared.inverted(
                self.model, frame, self._times, settings, start.picture, self._thrift.means
            )
        elif settings.start == "cells":
            moves = []
            for region, drags in regions.moves:
                here, there = ends(drags)
                moves.append((frame.region_to_working(region), here, there, transform_kind(here, there)))
            begin = move_cells(inverted, moves, settings.seed)
        else:
            room = np.ones(frame.padded, bool) if self._mask is None else frame.region_to_working(self._mask > 0)
            begin = move_field(inverted, room, *ends(self._request.drags), settings.seed)
        if settings.start_noise:
            revealed = frame.region_to_working(start.revealed)
            abar = alpha_bar(self.model, self._times.start)
            begin = fresh_noise(begin, revealed, settings.start_noise, abar, settings.seed)
        return begin

    def _latent_mask(self, like: Tensor) -> Tensor | None:
        return None if self._mask is None else self._placement.mask(self._mask, self._request.drags).to(like)

    def _drag(self, problem: DragProblem) -> Generator[Progress, None, tuple[list[Step], bool]]:
        """All steps, the tensors of the last alone unless for a trace; and whether the user stopped the loop."""
        kept: list[Step] = []
        total = most_steps(self._settings)
        problem = replace(problem, captures=self._captures())
        with closing(loop_of(self._settings.method)(problem)) as loop:
            for step in loop:
                if step.diverged and kept:
                    kept.pop()  # its update is what led to NaN
                elif kept and not self._trace:
                    kept[-1] = _without_tensors(kept[-1])  # hundreds of embeddings would fill the device
                kept.append(step)
                distance = float(np.mean(step.distances)) * self._frame.pixels_per_cell
                done = min(step.iteration + 1, total)
                points = tuple((float(x), float(y)) for x, y in self._frame.to_pixels(step.handles))
                self._step = step
                yield Progress("drag", done, total, distance, step, points, partial(self._preview, step))
                if step.updated and self.stopped:
                    return kept, True
        return kept, False

    def _recall(self, facts: tuple, make: Callable[[], Any]) -> Any:
        if self._thrift.means != NONE:  # memory is short, and this would stay on the device
            return make()
        return self._prepared.of_original(self.model, self._frame, self._times, self._settings, facts, make)

    def _captures(self) -> Captures | None:
        """For the loop alone: what it captures is gone when it ends."""
        # Where memory is so short that blocks are computed again, there is none for a graph beside everything else.
        if not self._settings.capture or self._thrift.means.again:
            return None
        if not self.model.can_capture:
            log.warning("`capture` does nothing here: it takes a model that DragText has loaded itself, on CUDA.")
            return None
        return Captures()

    def _preview(self, step: Step) -> Image.Image:
        """What the step's latent would become if the noise that the U-Net sees in it now were taken away at once."""
        if step is not self._step or self._text is None:
            raise InputError("The preview of a step is there until the next step begins; ask for it before.")
        latent = step.latent
        with plain_torch(self.model.device), torch.no_grad():
            if step.level < len(self._times.timesteps):
                timestep = self._times.timesteps[step.level]
                with nullcontext() if step.bottleneck is None else replace_mid(self.model, step.bottleneck):
                    words = self._text.with_tokens(step.text)
                    prediction = predict(self.model, latent, timestep, words, self._guidance)
                abar = alpha_bar(self.model, timestep)
                _, latent = to_epsilon_x0(prediction, latent, abar, self.model.prediction_type)
            image = self.model.decode(latent)
        mask = self._mask if self._settings.composite else None
        return compose(image, self._frame, self._loaded, mask, seam=self._settings.seam)

    def _rendering(self, problem: DragProblem, last: Step, weights: IdentityWeights) -> Rendering:
        return Rendering(
            model=self.model,
            settings=self._settings,
            frame=self._frame,
            level=last.level,
            latent_before=(problem.latent if last.reference is None else last.reference).cpu(),
            latent_after=last.latent.cpu(),
            bottleneck=None if last.bottleneck is None else last.bottleneck.cpu(),
            text_before=problem.text.tokens.cpu(),
            text_after=last.text.cpu(),
            identity={path: (down.cpu(), up.cpu()) for path, (down, up) in weights.items()},
            original=self._loaded.numbers,
            alpha=self._loaded.alpha,
            mask=self._mask,
            profile=self._loaded.profile,
            kept=self._kept(),
            fixed={name: value.cpu() for name, value in problem.text.fixed.items()},
            against=None if self._guidance is None else self._guidance.against.to(torch.device("cpu")),
        )

    def _kept(self) -> Kept | None:
        """What of the start needs no model. A start of cells has moved no pixels that could be kept."""
        settings = self._settings
        if self._start is None or settings.start != "warp" or settings.repaint == "mask":
            return None
        return self._start.kept

    def _outcome(
        self, problem: DragProblem, steps: list[Step], interrupted: bool, rendering: Rendering, image: Image.Image
    ) -> EditResult:
        last, updates = steps[-1], sum(step.updated for step in steps)
        places = [step.handles for step in steps]
        if problem.start is not None:  # a start takes the handles along at once
            places = [problem.handles, *places]
        trajectory = self._frame.to_pixels(np.stack(places))
        return EditResult(
            image=image,
            drags=reports(self._request.drags, trajectory),
            trajectory=trajectory,
            losses=tuple(step.loss for step in steps if step.loss is not None),
            reached=last.reached and (updates > 0 or self._start is not None),
            stopped=ending(last, interrupted, updates > 0 or self._start is not None),
            steps=updates,
            rendering=rendering,
            request=self._request,
            settings=self._settings,
            model=self.model.name,
            timings=self._clock.seconds,
            peak_memory=peak_memory(self.model.device),
            trace=trace_of(problem, steps) if self._trace else None,
            notes=(*self._loaded.notes, *self._placement.notes, *self._thrift.notes),
            start=self._start,
            region=None if self._regions is None else self._regions.source,
            recommended=self._recommended,
        )


def _without_tensors(step: Step) -> Step:
    nothing = step.latent.new_empty(0)
    return replace(step, latent=nothing, text=nothing, bottleneck=None, reference=None)


def _drawn(rendering: Rendering) -> Generator[Progress, None, Image.Image]:
    """The edit's own picture."""
    with closing(rendering.drawing([(1.0, 1.0)])) as drawing:
        while True:
            try:
                done, total = next(drawing)
            except StopIteration as end:
                (image,) = end.value
                return image
            yield Progress("denoise", done, total)
