"""Short drags on the miniature model, for every loop."""

from __future__ import annotations

import numpy as np
import torch
from dragtext.sdk.drag.problem import DragProblem
from dragtext.sdk.model.schedule import TimeGrid
from dragtext.sdk.settings import make_settings

SHORT = {
    "dragdiffusion": {"steps": 4},
    "dragnoise": {"steps": 4},
    "freedrag": {"steps": 6, "inner_steps": 2},
    "gooddrag": {"drag_levels": 2, "tracks_per_level": 2, "steps_per_track": 2},
}
LONGER = {
    "dragdiffusion": {"steps": 6},
    "dragnoise": {"steps": 6},
    "freedrag": {"steps": 9, "inner_steps": 2, "displacement": 1.0},
    "gooddrag": {"drag_levels": 3, "tracks_per_level": 2, "steps_per_track": 2, "patience": 100},
}
FIVE = {
    "handles": ((0, 0), (31, 31), (10, 12), (20, 5), (16, 30)),
    "targets": ((9, 9), (20, 31), (11, 12), (20, 25), (0, 16)),
}


def make_problem(model, method, handles=((10, 12),), targets=((10, 20),), mask="rectangle", strength=0.2, **settings):
    generator = torch.Generator().manual_seed(1)
    latent_mask = None
    if mask is not None:
        latent_mask = torch.zeros(1, 1, 8, 8)
        if mask == "rectangle":
            latent_mask[..., 2:6, 2:6] = 1
    resolved = make_settings({"method": method, "strength": strength, **SHORT[method], **settings}).resolve()
    return DragProblem(
        model=model,
        times=TimeGrid.of(strength, 50),
        latent=torch.randn(1, 4, 8, 8, generator=generator),
        text=model.encode_text("a red cat"),
        handles=np.array(handles, dtype=np.float64),
        targets=np.array(targets, dtype=np.float64),
        grid=(32, 32),
        mask=latent_mask,
        settings=resolved,
    )
