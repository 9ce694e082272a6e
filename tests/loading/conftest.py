"""Models in files of every kind, written for the tests, and nothing of the network."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
import torch
from dragtext.sdk.errors import ModelError
from dragtext.sdk.model.load import load_model
from safetensors.torch import save_file

from ..tiny import single_file_weights, tiny_model, write_diffusers_folder

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model."


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a model was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder, to be left as it is."""
    return write_diffusers_folder(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def weights() -> dict[str, torch.Tensor]:
    return single_file_weights()


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy for a test to change or to damage."""
    return Path(shutil.copytree(saved, tmp_path / "tiny"))


def refusal(source: object, error: type[Exception] = ModelError, **options: object) -> str:
    """The message of the error that loading raises; one sentence on one line."""
    with pytest.raises(error) as caught:
        load_model(source, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


@pytest.fixture(scope="session")
def whole() -> str:
    """The fingerprint of the model that all files here are made from."""
    return tiny_model(clip_vocabulary=True).fingerprint


def put(path: Path, weights: dict[str, torch.Tensor], **metadata: str) -> Path:
    save_file({name: value.contiguous().clone() for name, value in weights.items()}, str(path), metadata=metadata)
    return path
