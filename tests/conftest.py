from __future__ import annotations

import pytest
import torch

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
