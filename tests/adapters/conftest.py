"""Both adapters on stand-ins for their hosts, around real ldm modules."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.extension.hosts.a1111 import A1111
from dragtext.extension.hosts.forge import Forge
from dragtext.extension.queue import Jobs
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from ..tiny import tiny_model
from .forge_host import forge_engine, install_forge
from .ldm_host import DiffusionEngine, LatentDiffusion, install_a1111

PROMPT = "a cat the red dog"


@pytest.fixture(scope="module")
def reference():
    return tiny_model()


@pytest.fixture
def ldm(reference, tmp_path):
    pytest.importorskip("ldm", reason="stable-diffusion-sdkit is not installed (pip install --no-deps)")
    kind = LatentDiffusion if reference.text_encoder_2 is None else DiffusionEngine
    return kind(reference, tmp_path)


@pytest.fixture
def a1111(ldm, monkeypatch, tmp_path):
    host = A1111()
    host.log = install_a1111(monkeypatch, ldm, tmp_path)
    host.unet = ldm.model.diffusion_model
    host.whole = host.model = ldm
    return host


@pytest.fixture
def forge(ldm, monkeypatch, tmp_path):
    engine = forge_engine(ldm)
    host = Forge()
    host.log = install_forge(monkeypatch, engine, tmp_path)
    host.unet = engine.forge_objects.unet.model.diffusion_model
    host.whole, host.engine, host.model = host.unet.inner, engine, ldm
    return host


@pytest.fixture(params=["a1111", "forge"])
def host(request):
    return request.getfixturevalue(request.param)


def picture() -> Image.Image:
    # The original ldm code takes multiples of 64 only; both hosts changed that.
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8))


def asked(prompt: str = PROMPT, **settings) -> Request:
    values = {"steps": 3, "inference_steps": 4, "lora_steps": 2, "lora_batch": 2, "drag_levels": 2, **settings}
    return Request(make_drags([((20, 30), (50, 30))]), prompt, None, make_settings(values))


def run(host, request: Request, **more):
    jobs = Jobs(host)
    try:
        job = jobs.submit(picture(), request, **more)
        assert job.ended.wait(120)
        return job
    finally:
        jobs.close()
