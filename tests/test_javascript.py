"""The page's modules under node's own test runner, where there is a node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from dragtext.sdk.settings import catalogue

TESTS = Path(__file__).parent
SCRIPTS = TESTS.parent / "javascript"
NODE = shutil.which("node")
pytestmark = pytest.mark.skipif(not NODE, reason="node is not installed")


@pytest.mark.parametrize("path", sorted(TESTS.glob("*.test.mjs")), ids=lambda path: path.name)
def test_the_modules(path):
    done = subprocess.run([NODE, "--test", path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.mjs")), ids=lambda path: path.name)
def test_every_module_can_be_read(path):
    done = subprocess.run([NODE, "--check", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_every_setting_has_german_words():
    told = f"import({json.dumps((SCRIPTS / 'dragtext_words_settings.mjs').as_uri())}).then(({{ GERMAN }}) => "
    told += "console.log(JSON.stringify(GERMAN)))"
    done = subprocess.run([NODE, "-e", told], capture_output=True, text=True, timeout=60, check=True)
    words = json.loads(done.stdout)
    assert set(words) == {info.name for info in catalogue()}
    assert all(label and text for label, text in words.values())
