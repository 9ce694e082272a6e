"""What a command tells: help, version, info and warnings."""

from __future__ import annotations

import inspect
import json
import logging
import os
import subprocess
import sys
import types
from importlib import import_module

import pytest
from dragtext.extension.command import UI
from dragtext.sdk.command import app

from .conftest import ASCII, command

ALL_COMMANDS = {**app.COMMANDS, "ui": UI}


def test_version(run):
    code, stdout, _ = run("--version")
    assert code == 0
    assert stdout.startswith("dragtext ")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["info", "--help"], ["ui", "--help"]])
def test_help_and_version_do_not_wait_for_torch(arguments):
    code = (
        "import sys\n"
        "sys.argv[0] = 'dragtext'\n"
        "from dragtext.extension.command import main\n"
        "try:\n    main()\n"
        "finally:\n    print('LOADED', *(m for m in ('torch', 'diffusers', 'gradio') if m in sys.modules))"
    )
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert "LOADED\n" in process.stdout
    assert "dragtext" in process.stdout + process.stderr  # and something was shown


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name, run):
    """The list is written down apart from the commands, so that it needs none of them."""
    home = ALL_COMMANDS[name]
    function = getattr(import_module(home.module), home.function)
    assert inspect.getdoc(function) == home.summary


def test_what_stands_in_brackets_is_shown(run):
    _, stdout, _ = run("edit", "--help")
    assert "[cuda if there is one]" in " ".join(stdout.split())


def test_info(run):
    code, stdout, _ = run("info", "--json")
    assert code == 0
    facts = json.loads(stdout)
    assert facts["torch"].startswith("2.")
    assert "bytes" in facts["cache"]


def test_info_for_people(run):
    _, stdout, _ = run("info")
    for name in ("dragtext", "python", "system", "torch", "gradio", "fastapi", "typer", "pydantic", "cuda"):
        assert f"{name}  " in stdout


@pytest.mark.parametrize("failure", ["raise ImportError('libtorch is gone')", "raise OSError('libtorch is gone')"])
def test_a_broken_torch_is_a_sentence_and_info_still_says_what_is_there(failure, picture, tmp_path):
    write_module = tmp_path / "broken" / "torch" / "__init__.py"
    write_module.parent.mkdir(parents=True)
    write_module.write_text(failure)
    path = os.pathsep.join([str(tmp_path / "broken"), os.environ.get("PYTHONPATH", "")])
    options = {"capture_output": True, "text": True, "check": False, "env": {**os.environ, "PYTHONPATH": path}}
    process = subprocess.run(command("info", "--json"), **options)
    assert process.returncode == 0, process.stderr
    facts = json.loads(process.stdout)
    assert "cannot be used: libtorch is gone" in facts["torch"]
    assert facts["python"]
    process = subprocess.run(command("edit", picture, "--drag", "1,1:9,9"), **options)
    assert process.returncode == 2
    assert process.stderr.startswith("Error: A package that DragText needs cannot be loaded (libtorch is gone)")
    assert len(process.stderr.splitlines()) == 1


def test_no_signature_needs_a_new_typer():
    """typer before 0.12.4 does not know `str | None`."""
    for home in ALL_COMMANDS.values():
        function = getattr(import_module(home.module), home.function)
        for parameter in inspect.signature(function, eval_str=True).parameters.values():
            kind = getattr(parameter.annotation, "__origin__", parameter.annotation)  # without Annotated's extras
            if sys.version_info < (3, 14):  # from there on the two are one
                assert not isinstance(kind, types.UnionType), f"{home.function} {parameter.name}"


@pytest.mark.parametrize("arguments", [["--help"], ["edit", "--help"], ["info"]])
def test_help_where_only_ascii_is_known(arguments):
    process = subprocess.run(command(*arguments), capture_output=True, check=False, env=ASCII)
    assert process.returncode == 0, process.stderr
    assert process.stdout.isascii()
    assert process.stderr == b""


@pytest.mark.parametrize("name", ["dragtext", "dragtext.sdk.model"])
def test_warnings_of_ours_are_lines_on_stderr(name, run, monkeypatch):
    """Also under -q, and only while the command runs: a program's own logging is left alone."""
    from dragtext.sdk.command import information

    def warns():
        logging.getLogger(name).warning("Something is\nodd: %d.", 3)
        logging.getLogger(name).info("nothing to see")
        return {}

    monkeypatch.setattr(information, "collect", warns)
    code, _, stderr = run("info")
    assert code == 0
    assert stderr == "Warning: Something is odd: 3.\n"
    assert logging.getLogger("dragtext").propagate
    assert not logging.getLogger("dragtext").handlers
