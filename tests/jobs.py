"""Short edits for the queue, on noise."""

from __future__ import annotations

import numpy as np
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

QUICK = {
    "steps": 3,
    "inference_steps": 4,
    "lora_steps": 2,
    "lora_batch": 1,
    "drag_levels": 2,
    "method": "dragdiffusion",
}
WAIT = 120


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 80, 3), dtype=np.uint8))


def request(**settings) -> Request:
    drags = make_drags([((20, 30), (50, 30))])
    return Request(drags, "a cat, red: big", None, make_settings({**QUICK, **settings}))


def finished(job):
    assert job.ended.wait(WAIT), job.state
    return job
