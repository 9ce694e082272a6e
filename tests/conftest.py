from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: the processes share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from dragtext.extension.queue import Jobs

from .lender import Lender
from .tiny import tiny_model


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("DRAGTEXT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def model():
    """A random miniature Stable Diffusion, shared: nothing that the project does may change it."""
    torch.set_num_threads(1)
    return tiny_model()


@pytest.fixture
def host(model, tmp_path):
    """The WebUI side without a WebUI."""
    return Lender(model, tmp_path / "out")


@pytest.fixture
def jobs(host):
    jobs = Jobs(host)
    yield jobs
    host.hold.set()
    jobs.close()
