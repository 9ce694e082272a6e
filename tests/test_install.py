"""install.py and what the extension asks of a host: nothing that could move one of its pins."""

from __future__ import annotations

import ast
import configparser
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# What A1111 1.10.1 and Forge (June 2025) pin, and what comes with it.
PINNED = {
    "gradio", "gradio-client", "fastapi", "starlette", "pydantic", "pydantic-core", "transformers", "tokenizers",
    "safetensors", "numpy", "pillow", "accelerate", "pytorch-lightning", "open-clip-torch", "einops", "kornia",
    "omegaconf", "protobuf", "scikit-image", "spandrel", "torchdiffeq", "torchsde", "tomesd", "httpx", "httpcore",
    "gitpython", "psutil", "setuptools", "torch", "torchvision", "xformers", "diffusers", "huggingface-hub", "anyio",
    "h11", "markupsafe", "scipy", "joblib", "peft",
}  # fmt: skip
# What both hosts have without an extension's help; torch brings filelock.
PRESENT = {
    "torch", "numpy", "PIL", "cv2", "safetensors", "pydantic", "fastapi", "starlette", "gradio", "modules", "backend",
    "modules_forge", "dragtext", "filelock",
}  # fmt: skip


@pytest.fixture
def install():
    spec = importlib.util.spec_from_file_location("dragtext_install", ROOT / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_never_installs_what_a_host_pins(install, monkeypatch):
    calls = []
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(install.subprocess, "run", lambda command, check: calls.append(command) or _Done(0))
    monkeypatch.setattr(sys, "argv", ["install.py"])
    install.main()
    assert len(calls) == len(install.NEEDED)
    for command in calls:
        assert "--no-deps" in command
        assert "--upgrade" not in command
        assert not {part.partition("=")[0].lower() for part in command} & PINNED


def test_it_does_nothing_where_nothing_is_missing_or_where_it_is_told_so(install, monkeypatch):
    calls = []
    monkeypatch.setattr(install.subprocess, "run", lambda command, check: calls.append(command) or _Done(0))
    monkeypatch.setattr(sys, "argv", ["install.py"])
    install.main()
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["install.py", "--skip-install"])
    install.main()
    assert calls == []


def test_a_failed_installation_is_said_and_ends_well(install, monkeypatch, capsys):
    monkeypatch.setattr(install.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(install.subprocess, "run", lambda command, check: _Done(1))
    monkeypatch.setattr(sys, "argv", ["install.py"])
    install.main()
    assert "install it yourself" in capsys.readouterr().out


def test_it_runs_outside_a_webui():
    done = subprocess.run([sys.executable, ROOT / "install.py"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def imported(path: Path, everything: bool) -> set[str]:
    """Top-level names that a file imports: at its own import, or anywhere."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if everything else _reached_at_import(tree):
        if isinstance(node, ast.Import):
            found |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - {"__future__"}


def _reached_at_import(tree: ast.Module):
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        checking = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not checking:
            waiting += ast.iter_child_nodes(node)


def test_in_a_host_nothing_is_imported_that_it_does_not_have():
    # The command line and what loads a model of our own never run there.
    for folder in ("sdk", "extension", "scripts"):
        for path in (ROOT / folder).rglob("*.py"):
            if not {"command", "server", "evaluation"} & {path.stem, *path.relative_to(ROOT).parts}:
                assert imported(path, everything=False) <= PRESENT, path


def test_only_the_adapters_and_the_registration_know_a_host():
    hosts = {"modules", "modules_forge", "backend"}
    allowed = {ROOT / "extension" / "register.py", *(ROOT / "extension" / "hosts").glob("*.py")}
    for folder in ("sdk", "extension"):
        for path in set((ROOT / folder).rglob("*.py")) - allowed:
            assert not imported(path, everything=True) & hosts, path
    for path in (ROOT / "sdk").rglob("*.py"):
        assert "gradio" not in imported(path, everything=True), path


def test_the_folder_that_webuis_execute_holds_one_file():
    assert [path.name for path in (ROOT / "scripts").glob("*.py")] == ["dragtext_webui.py"]
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "metadata.ini")
    assert metadata["Extension"]["Name"] == "dragtext"


class _Done:
    def __init__(self, returncode: int) -> None:
        self.returncode = returncode
