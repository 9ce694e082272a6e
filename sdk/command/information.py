"""Facts about this installation."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("dragtext", "torch", "diffusers", "transformers", "safetensors", "numpy", "opencv-python-headless",
            "pillow", "pydantic", "xformers")  # fmt: skip


def collect() -> dict[str, Any]:
    """Name -> value, all JSON types; sizes in bytes."""
    import torch

    from ..model.cache import cache_folder, cache_limit, cache_size
    from ..model.load import EMBEDDED

    facts: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["threads"] = torch.get_num_threads()
    facts["cuda"] = [
        {"name": torch.cuda.get_device_name(i), "memory": torch.cuda.get_device_properties(i).total_memory}
        for i in range(torch.cuda.device_count())
    ]
    facts["mps"] = torch.backends.mps.is_available()
    weights = list(EMBEDDED.rglob("*.safetensors"))
    facts["embedded model"] = f"{sum(f.stat().st_size for f in weights)} bytes" if weights else "missing"
    facts["cache"] = f"{cache_folder()}, {cache_size()} of {cache_limit()} bytes"
    return facts
