"""What an edit reports while it runs and returns at its end."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image
from torch import Tensor

from .request import Point, Request
from .settings import ResolvedSettings, as_dict

if TYPE_CHECKING:
    from .drag.start import Start
    from .render.rendering import Rendering

Phase = Literal["identity", "invert", "drag", "denoise", "sweep"]
PHASES: dict[Phase, str] = {
    "identity": "learning the image",
    "invert": "inverting",
    "drag": "dragging",
    "denoise": "rendering",
    "sweep": "rendering the sweep",
}


@dataclass(frozen=True)
class Step:
    """One iteration of a drag loop, in the model's frame.

    iteration: number of the iteration, from 0.
    handles: (n, 2) float64 feature-grid (row, col), where this iteration believes the handles are.
    distances: n distances to the targets, feature-grid pixels.
    latent: (1, 4, h, w) float32 after the update; text: (1, 77, D) float32 after the update.
    bottleneck: what DragNoise optimises, the mid block's output (1, C, h', w') float32; None for the other methods.
    level: index into the edit's timesteps at which `latent` lives; GoodDrag goes down as it drags.
    reference: (1, 4, h, w), the original's latent at that level; None is the inverted latent.
    loss: motion and background loss, None where the iteration only looked and did not update.
    reached: all points are within `reach_distance`.
    stuck: the points have not moved for GoodDrag's `patience`.
    diverged: the loss became NaN; latent and text are the last ones with a finite loss.
    """

    iteration: int
    handles: np.ndarray
    distances: tuple[float, ...]
    latent: Tensor
    text: Tensor
    loss: float | None = None
    reached: bool = False
    diverged: bool = False
    stuck: bool = False
    bottleneck: Tensor | None = None
    level: int = 0
    reference: Tensor | None = None

    @property
    def updated(self) -> bool:
        return self.loss is not None


@dataclass(frozen=True)
class Progress:
    """One event for progress bars: `done` of `total` units of a phase, and the step itself during the drag.

    The rest is there in the drag phase only. distance: mean distance of the handles to their targets, and points:
    where the handles are, (x, y), both in pixels of the user's image. preview: renders an estimate of the picture as it
    stands, from one more pass of the U-Net and a decode; to be called, if at all, before the callback returns.
    """

    phase: Phase
    done: int
    total: int
    distance: float | None = None
    step: Step | None = None
    points: tuple[Point, ...] = ()
    preview: Callable[[], Image.Image] | None = None


@dataclass(frozen=True)
class Trace:
    """What the loop did, K iterations with n points. Row 0 of `latent` and `text` is before any update.

    handles (K, n, 2) feature-grid (row, col) as used by each iteration; loss (K,); latent (K+1, 4, h, w);
    text (K+1, 77, D); bottleneck (K, C, h', w') after each update, for DragNoise only, whose latent stays. All float32
    but handles and loss, which are float64.
    """

    handles: np.ndarray
    loss: np.ndarray
    latent: np.ndarray
    text: np.ndarray
    bottleneck: np.ndarray | None = None

    def save(self, path: str | Path) -> None:
        """Write an .npz with the arrays, all of it or nothing. Raises InputError where that is impossible."""
        from .picture.files import write_atomically

        arrays = {name: value for name, value in vars(self).items() if value is not None}

        def write(temporary: Path) -> None:
            packed = io.BytesIO()  # an archive that a full disk cut short complains once more at its end
            np.savez_compressed(packed, **arrays)
            temporary.write_bytes(packed.getbuffer())

        write_atomically(Path(path), write)


@dataclass(frozen=True)
class DragReport:
    """Where one handle went, (x, y) in pixels of the user's image; distances to the target in the same pixels."""

    start: Point
    target: Point
    final: Point
    distance_before: float
    distance_after: float


@dataclass(frozen=True)
class EditResult:
    """The outcome of an edit.

    image: PIL image of exactly the input's size, in its colour space (`info["icc_profile"]`); RGBA where the input had
        transparency, which moves along where a cut-out on an empty ground was dragged.
    drags: one report per drag. The final position is the tracker's belief, not a measurement.
    trajectory: (K, n, 2) float64, (x, y) pixels of the user's image at each iteration; the last row is the end.
    losses: K numbers. reached: all points within `reach_distance` of their targets.
        Never true without a step or a start.
    stopped: why the loop ended: "reached", "steps" (all used), "stuck" (no point moves any more, or none could be told
        from its surroundings and there was no step), "interrupted", "diverged" (NaN; last good state kept).
    rendering: what `at` and `sweep` draw from: both ends of the edit, latents and embeddings, on the CPU.
    request: prompt, drags, mask and settings as given; settings: the same with every default filled in.
    timings: seconds per phase (encode, identity, invert, drag, denoise with the decoding).
    peak_memory: bytes, of the device on CUDA and of the process elsewhere.
    start: where the content began, in an edit with a start: the moved region and what it revealed. region: where that
        region is from: "given", "found", "mask" or "handles" (see `Regions`); None without one.
    recommended: the settings that came with the model, since nothing else was asked for.
    trace: only if asked for. notes: sentences for the user about the picture, the mask and where the drags are worked
        on; they were logged as warnings before the work.
    """

    image: Image.Image
    drags: tuple[DragReport, ...]
    trajectory: np.ndarray
    losses: tuple[float, ...]
    reached: bool
    stopped: Literal["reached", "steps", "stuck", "interrupted", "diverged"]
    steps: int
    rendering: Rendering
    request: Request
    settings: ResolvedSettings
    model: str
    timings: dict[str, float] = field(default_factory=dict)
    peak_memory: int = 0
    trace: Trace | None = None
    notes: tuple[str, ...] = ()
    start: Start | None = None
    region: str | None = None
    recommended: dict[str, Any] = field(default_factory=dict)

    @property
    def text_before(self) -> Tensor:
        """(1, 77, D) float32, the prompt's embedding."""
        return self.rendering.text_before

    @property
    def text_after(self) -> Tensor:
        """(1, 77, D) float32, the optimised embedding."""
        return self.rendering.text_after

    @property
    def latent_before(self) -> Tensor:
        """(1, 4, h, w) float32, the original's latent where the denoise takes over."""
        return self.rendering.latent_before

    @property
    def latent_after(self) -> Tensor:
        """(1, 4, h, w) float32, the dragged latent at the same level."""
        return self.rendering.latent_after

    def report(self) -> dict[str, Any]:
        """The outcome in JSON types; points are (x, y) pixels of the user's image."""
        return {
            "method": self.settings.method,
            "settings": as_dict(self.settings),
            "prompt": self.request.prompt,
            "model": self.model,
            "drags": [
                {
                    "start": list(drag.start),
                    "target": list(drag.target),
                    "final": list(drag.final),
                    "distance_before": drag.distance_before,
                    "distance_after": drag.distance_after,
                }
                for drag in self.drags
            ],
            "reached": self.reached,
            "stopped": self.stopped,
            "steps": self.steps,
            "seed": self.settings.seed,
            "seconds": self.timings,
            "peak_memory_bytes": self.peak_memory,
            "notes": list(self.notes),
            "region": self.region,
            "recommended": self.recommended,
        }

    def at(self, v: float, text: float | None = None) -> Image.Image:
        """The picture at `start + v * (end - start)`; see `Rendering.at`."""
        return self.rendering.at(v, text)

    def sweep(self, values: Sequence[float | tuple[float, float]]) -> list[Image.Image]:
        """A picture per value; see `Rendering.sweep`."""
        return self.rendering.sweep(values)

    def save(self, path: str | Path) -> Path:
        """Write the image; a PNG carries the whole request, which `--request` and `read_request` read back.

        Raises InputError where that is impossible; whatever was there before is then still there.
        """
        from .picture.files import save_image

        return save_image(self.image, path, self.request)

    def save_state(self, path: str | Path) -> Path:
        """Write a .safetensors file from which `sdk.open_result` renders again in another process.

        Raises InputError where that is impossible.
        """
        from .render.saved import save_state

        return save_state(self.rendering, self.request, path)
