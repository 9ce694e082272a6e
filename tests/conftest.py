from __future__ import annotations

import os
import shutil

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: the processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from dragtext import sdk
from dragtext.extension.queue import Jobs
from dragtext.sdk.model import cache

from .helpers import noise
from .lender import Lender
from .tiny import tiny_model, tiny_xl

# Networks this small are several times slower when threads wait for each other, and sums come out in another order.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache, or finds it as a host in an earlier test has set it up."""
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_folder", None)
    monkeypatch.setattr(cache, "_limit_mb", None)


@pytest.fixture(scope="session")
def model():
    """A random miniature Stable Diffusion, shared: nothing that the project does may change it."""
    return tiny_model()


@pytest.fixture(scope="session")
def xl():
    """The same in SDXL's form."""
    return tiny_xl()


@pytest.fixture(scope="session")
def embedded():
    """The model that ships, shared like the miniature."""
    return sdk.load_model(device="cpu")


@pytest.fixture
def editor(model):
    """Noise, opened on the miniature model."""
    return sdk.Editor(model, noise(), "a cat")


@pytest.fixture
def host(model, tmp_path):
    """The WebUI side without a WebUI."""
    return Lender(model, tmp_path / "out")


@pytest.fixture(scope="module")
def browser():
    """Chromium; skipped where there is none: DRAGTEXT_CHROMIUM names one, else it is looked for on the path."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = os.environ.get("DRAGTEXT_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("there is no Chromium")
    arguments = ["--no-sandbox", "--disable-quic", "--disable-background-networking"]
    with api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=arguments)
        yield found
        found.close()


@pytest.fixture
def jobs(host):
    jobs = Jobs(host)
    yield jobs
    host.hold.set()
    jobs.close()
