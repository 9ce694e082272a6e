"""What the U-Net learns from: scenes by number, their cached latents, captions and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from dragtext.sdk.evaluation.scenes import Scene, make_scene
from reading import scene_labels

CLOSE_SIZE = 128  # side of a close scene, pixels
CLOSE_FROM = 500_000  # close scenes' first seed, far above the whole ones'


def training_scene(number: int) -> Scene:
    """Every second one has a single object: those show most clearly what a shape is."""
    return make_scene(number, count=1 if number % 2 else None)


def close_scene(number: int) -> Scene:
    """A single object in a picture half as wide: a quarter of the work, and no less of what is hard to learn."""
    scene = make_scene(CLOSE_FROM + number, count=1)
    (item,) = scene.objects
    margin = min(item.reach + 6, CLOSE_SIZE / 2)
    x, y = (float(v) for v in np.random.default_rng([number, 3]).uniform(margin, CLOSE_SIZE - margin, 2))
    return replace(scene, size=CLOSE_SIZE, objects=(replace(item, centre=(x, y)),))


@dataclass
class Lesson:
    """Pictures of one size that the U-Net learns from. latents: (n, 4, h, w); labels: see `scene_labels`."""

    latents: torch.Tensor
    scenes: list[Scene]
    labels: torch.Tensor

    @classmethod
    def of(cls, path: Path, scene: Callable[[int], Scene]) -> Lesson:
        latents = torch.load(path, weights_only=True)["latents"]
        scenes = [scene(number) for number in range(len(latents))]
        return cls(latents, scenes, torch.from_numpy(np.stack([scene_labels(s) for s in scenes])))

    def pick(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, list[str], torch.Tensor]:
        """Latents, captions (a tenth of them empty, so that guidance works) and labels of `count` scenes."""
        picked = torch.randint(0, len(self.latents), (count,), generator=generator)
        dice = torch.rand(count, generator=generator).tolist()
        captions = [
            "" if die < 0.1 else self.scenes[i].describe(places=die < 0.5) for i, die in zip(picked.tolist(), dice)
        ]
        return self.latents[picked], captions, self.labels[picked]
