"""Which host this is, by what it has loaded."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from dragtext.extension.hosts.a1111 import A1111
from dragtext.extension.hosts.detect import UnsupportedHostError, detect
from dragtext.extension.hosts.forge import Forge

from .forge_host import install_forge
from .ldm_host import install, install_a1111, install_webui


@pytest.fixture(autouse=True)
def no_host(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("modules", "backend", "modules_forge")]:
        monkeypatch.delitem(sys.modules, name)


def refused(words: str) -> None:
    before = set(sys.modules)
    with pytest.raises(UnsupportedHostError, match=words):
        detect()
    assert set(sys.modules) == before


def test_a1111_and_forge_by_what_they_have_loaded(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        install_a1111(patch, None, tmp_path)
        assert type(detect()) is A1111
    with monkeypatch.context() as patch:
        install_forge(patch, SimpleNamespace(), tmp_path)
        assert type(detect()) is Forge


def test_forge_classic_and_reforge_are_refused(monkeypatch, tmp_path):
    install_a1111(monkeypatch, None, tmp_path)  # they kept much of it
    install(monkeypatch, "ldm_patched")
    install(monkeypatch, "modules_forge")
    refused("Forge Classic and reForge")


@pytest.mark.parametrize("has_ldm", [False, True])
def test_sd_next_is_refused_with_either_of_its_backends(monkeypatch, tmp_path, has_ldm):
    if has_ldm:
        install_a1111(monkeypatch, None, tmp_path)
    install(monkeypatch, "modules.shared", __file__="/host/modules/shared.py")
    install(monkeypatch, "installer", __file__="/host/installer.py")
    refused("SD.Next")


def test_a_library_called_installer_is_not_sd_next(monkeypatch, tmp_path):
    install_a1111(monkeypatch, None, tmp_path)
    install(monkeypatch, "installer", __file__="/site-packages/installer/__init__.py")
    assert type(detect()) is A1111


def test_anything_else_is_not_taken_for_one_of_them(monkeypatch, tmp_path):
    refused("does not know this WebUI")
    install_webui(monkeypatch, None, tmp_path)
    refused("does not know this WebUI")
