"""The WebUI's entry, run as a WebUI runs it, with the hosts' callbacks as stand-ins."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from .adapters.ldm_host import install, install_a1111

SCRIPT = Path(__file__).parent.parent / "scripts" / "dragtext_webui.py"


@pytest.fixture
def webui(monkeypatch, tmp_path):
    """Callbacks by name, the host's options, and our modules put back afterwards."""
    ours = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "dragtext"}
    log = install_a1111(monkeypatch, None, tmp_path)
    log.callbacks, log.options = {}, {}

    def keep(name):
        return lambda function: log.callbacks.setdefault(name, []).append(function)

    names = (
        "on_ui_settings", "on_ui_tabs", "on_app_started", "on_script_unloaded", "on_before_ui", "on_before_image_saved"
    )  # fmt: skip
    install(monkeypatch, "modules.script_callbacks", **{name: keep(name) for name in names})
    log.scripts = install(
        monkeypatch, "modules.scripts", Script=type("Script", (), {}), AlwaysVisible=object(), scripts_data=[]
    )

    class OptionInfo:
        def __init__(self, default=None, label="", component=None, component_args=None, section=None):
            self.default, self.label, self.section = default, label, section

        def info(self, text):
            self.note = text
            return self

    install(monkeypatch, "modules.options", OptionInfo=OptionInfo, OptionHTML=lambda text: OptionInfo(text))
    log.shared.opts.add_option = log.options.__setitem__
    install(
        monkeypatch,
        "gradio",
        **{name: object() for name in ("Checkbox", "Textbox", "Slider")},
    )
    yield log
    for name in [name for name in sys.modules if name.split(".")[0] == "dragtext"]:
        del sys.modules[name]
    sys.modules.update(ours)


def test_it_registers_and_enters_nothing_but_its_own_name(webui):
    before = set(sys.modules)
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    assert {name: len(found) for name, found in webui.callbacks.items()} == {
        "on_ui_settings": 1,
        "on_ui_tabs": 1,
        "on_app_started": 1,
        "on_script_unloaded": 2,  # the queue's, and the script's own
        "on_before_ui": 1,
        "on_before_image_saved": 1,
    }
    assert "sdk" not in sys.modules
    assert "extension" not in sys.modules
    new = {name.split(".")[0] for name in set(sys.modules) - before}
    assert "diffusers" not in new
    assert "transformers" not in new


def test_settings_have_unique_names_and_one_section(webui):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    webui.callbacks["on_ui_settings"][0]()
    assert len(webui.options) >= 6
    assert all(name.startswith("dragtext_") for name in webui.options)
    assert {option.section for option in webui.options.values()} == {("dragtext", "DragText")}


def test_a_host_finds_the_script_that_repeats_a_drag(webui):
    found = runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    base = webui.scripts.Script
    (script,) = [value for value in found.values() if isinstance(value, type) and issubclass(value, base)]
    assert script().title() == "DragText: repeat a drag"
    assert script().show(True) is webui.scripts.AlwaysVisible
    assert script().show(False) is False


def test_a_reload_runs_new_code_and_ends_the_old_jobs(webui):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    first = sys.modules["dragtext.extension.queue"]
    for close in webui.callbacks.pop("on_script_unloaded"):
        close()
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    assert sys.modules["dragtext.extension.queue"] is not first


def run_copy(folder: Path) -> None:
    """The script of another copy of the extension."""
    script = folder / "scripts" / SCRIPT.name
    script.parent.mkdir(parents=True)
    script.write_text(SCRIPT.read_text())
    for name in ("sdk", "extension"):
        (folder / name).symlink_to(SCRIPT.parent.parent / name)
    runpy.run_path(str(script), run_name=SCRIPT.name)


def test_a_second_copy_stays_out_and_says_so(webui, tmp_path, caplog):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    first = sys.modules["dragtext.extension.queue"]
    run_copy(tmp_path / "copy")
    assert f"installed twice, in {SCRIPT.parent.parent} and in {tmp_path / 'copy'}; remove one" in caplog.text
    assert sys.modules["dragtext.extension.queue"] is first
    assert {len(found) for found in webui.callbacks.values()} == {1, 2}  # the script has one of its own
    assert len(webui.callbacks["on_ui_tabs"]) == 1


def test_a_copy_in_another_folder_starts_once_the_first_was_unloaded(webui, tmp_path, caplog):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    for unload in webui.callbacks.pop("on_script_unloaded"):
        unload()
    run_copy(tmp_path / "copy")
    assert caplog.text == ""
    assert sys.modules["dragtext"].__path__ == [str(tmp_path / "copy")]


def test_a_start_that_fails_is_a_sentence(webui, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cv2", None)
    monkeypatch.setitem(sys.modules, "pydantic", None)
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage().startswith("DragText could not start (ModuleNotFoundError: ")
    assert "\n" not in record.getMessage()


class Blocks:
    def __init__(self, **_more):
        self.entered = 0

    def __enter__(self):
        self.entered += 1
        return self

    def __exit__(self, *_problem):
        return None


@pytest.fixture
def notices(monkeypatch):
    """What is shown as HTML in tabs."""
    shown = []
    install(monkeypatch, "gradio", Blocks=Blocks, HTML=lambda text, elem_id: shown.append(text))
    return shown


def test_in_a_webui_that_is_not_supported_the_tab_says_so_and_nothing_else_is_added(webui, monkeypatch, notices):
    install(monkeypatch, "ldm_patched")
    install(monkeypatch, "modules_forge")
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    assert set(webui.callbacks) == {"on_ui_tabs", "on_script_unloaded"}
    ((blocks, title, identifier),) = webui.callbacks["on_ui_tabs"][0]()
    assert (blocks.entered, title, identifier) == (1, "DragText", "dragtext")
    assert "does not work in Forge Classic and reForge" in notices[0]


def test_a_page_that_cannot_be_built_is_a_sentence_in_the_tab(webui, notices, monkeypatch, caplog):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    monkeypatch.setitem(sys.modules, "dragtext.extension.layout", None)
    ((_, title, _),) = webui.callbacks["on_ui_tabs"][0]()
    assert title == "DragText"
    assert "page could not be added to this WebUI" in notices[0]
    assert "Traceback" not in caplog.text


def test_settings_that_this_webui_does_not_know_are_a_sentence(webui, monkeypatch, caplog):
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    monkeypatch.delattr(sys.modules["modules.options"], "OptionHTML")
    webui.callbacks["on_ui_settings"][0]()
    assert "settings could not be added to this WebUI (ImportError" in caplog.text
    assert "Traceback" not in caplog.text


def test_routes_are_added_once_to_each_application_and_only_with_the_hosts_api(webui):
    fastapi = pytest.importorskip("fastapi")
    runpy.run_path(str(SCRIPT), run_name="dragtext_webui.py")
    (started,) = webui.callbacks["on_app_started"]

    def paths(app) -> int:
        return sum("/dragtext/v1" in path for path in app.openapi()["paths"])

    app, reloaded, quiet = fastapi.FastAPI(), fastapi.FastAPI(), fastapi.FastAPI()
    started(None, app)
    count = paths(app)
    started(None, app)
    started(None, reloaded)
    assert paths(app) == paths(reloaded) == count >= 8
    webui.shared.cmd_opts = SimpleNamespace(api=False)
    started(None, quiet)
    assert paths(quiet) == 0
    # The page's own routes are there without it.
    assert any(getattr(route, "path", "").startswith("/dragtext/internal") for route in every_route(quiet))


def every_route(holder):
    """Newer FastAPIs keep an included router as one route that holds others."""
    for route in getattr(holder, "routes", ()):
        yield route
        yield from every_route(getattr(route, "original_router", None) or getattr(route, "router", None))
