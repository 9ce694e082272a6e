"""Edits in the tab in a real browser, as a person makes them, against `dragtext ui` under the installed gradio.

DRAGTEXT_SHOTS names a folder for pictures of what was seen.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .conftest import LONG, PULL, QUICK
from .person import WAIT, different, scene_file


def test_from_two_drags_to_a_script_that_does_it_again(client, person, tmp_path):
    """The whole way of somebody who edits a picture."""
    person.open_scene(tmp_path)
    # Two drags are pulled, and one end is moved.
    person.pull((100, 120), (140, 120))
    person.pull((150, 150), (150, 190))
    person.pull((150, 190), (170, 180))
    wanted = [[[100, 120], [140, 120]], [[150, 150], [170, 180]]]
    assert np.allclose(person.document()["drags"], wanted, atol=1)
    # A mask is painted and partly erased.
    person.layer_button("mask")
    person.tool("brush")
    person.pull((60, 100), (200, 100))
    person.pull((60, 140), (200, 140))
    painted = person.layer("mask").sum()
    person.tool("eraser")
    person.pull((60, 140), (90, 140))
    left = person.layer("mask").sum()
    assert 0 < left < painted
    # Five steps back, three forth: the painted mask without its second stroke and without the erasing.
    for _ in range(5):
        person.tool("undo")
    assert person.document()["mask"] is False
    assert np.allclose(person.document()["drags"], [wanted[0]], atol=1)
    for _ in range(3):
        person.tool("redo")
    assert np.allclose(person.document()["drags"], wanted, atol=1)
    assert 0 < person.layer("mask").sum() < painted
    person.shot("painted")
    # It runs, is watched, and is interrupted.
    for name, value in LONG.items():
        person.fill(f"setting_{name}", value)
    person.press("drag")
    person.says("Dragging .* step [3-9]")
    person.page.wait_for_selector("#dragtext_run .dragtext_curve", timeout=WAIT)
    bar = int(person.page.locator("#dragtext_run .dragtext_bar").get_attribute("aria-valuenow"))
    assert 40 < bar < 90
    person.shot("running")
    person.press("interrupt")
    person.says("Stopped; this is the best so far")
    first = person.result()
    # And again, shorter.
    for name in LONG:
        person.fill(f"setting_{name}", QUICK.get(name, ""))
    person.press("drag")
    person.says("All steps were used")
    person.page.wait_for_function("() => document.querySelectorAll('#dragtext_results [data-job]').length === 2")
    second = person.result()
    assert person.cards() == [second, first]
    # The two are compared with the original and with each other.
    person.rest()
    alone = person.shown()
    person.page.locator('[data-view="compare"]').click()
    beside = person.shown()
    assert different(alone, beside)
    person.page.locator(f'[data-job="{first}"]').hover()
    person.page.locator(f'[data-job="{first}"] .dragtext_card_against').click()
    person.page.wait_for_selector(f'[data-job="{first}"].dragtext_other')
    person.rest()
    assert different(beside, person.shown())
    person.shot("compared")
    person.page.locator('[data-view="result"]').click()
    # Its strength is scrubbed, over a strip that is there in a while.
    person.page.wait_for_function("() => document.querySelectorAll('.dragtext_v_ready i').length >= 6", timeout=WAIT)
    seen = {}
    for v in (0, 0.5, 1, 2):
        person.page.locator("#dragtext_v").fill(str(v))
        person.rest()
        seen[v] = person.shown()
    assert different(seen[0], seen[1])
    assert different(seen[1], seen[2])
    assert different(seen[0.5], seen[1])
    person.page.locator("#dragtext_v").fill("0.5")
    person.do("keep")
    person.says("Kept at 0.50")
    kept = person.result()
    assert person.told(f"edits/{kept}")["v"] == [0.5, 0.5]
    assert "DragText v: 0.5" in person.infotext()
    person.shot("scrubbed")
    # A script in the clipboard gives the same picture, to the byte.
    png = person.download(lambda: person.do("download"))
    picture = person.download(lambda: person.item("snippet"))
    script = person.page.evaluate("() => navigator.clipboard.readText()")
    place = tmp_path / "script"
    place.mkdir()
    (name,) = re.findall(r"PICTURE = '([^']+)'", script)
    shutil.copy(picture, place / name)
    (place / "again.py").write_text(script)
    subprocess.run([sys.executable, "again.py"], cwd=place, check=True, timeout=300)
    assert np.array_equal(np.array(Image.open(place / "dragged.png")), np.array(Image.open(png)))
    # Dragged on from what is shown.
    person.do("onward")
    person.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 0", timeout=WAIT)
    assert person.value("prompt") == "a red circle"
    assert person.document()["picture"]["id"] != person.told(f"edits/{kept}")["picture"]
    # An older result brings its picture and its drags back.
    person.card(second)
    person.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 2", timeout=WAIT)
    # What is deleted is gone.
    person.do("delete")
    person.says("Deleted")
    assert second not in person.cards()


def test_a_reload_in_the_middle_finds_the_edit_again(client, person, tmp_path):
    person.open_scene(tmp_path, seed=1, **LONG)
    person.pull(*PULL)
    person.tool("brush")
    person.layer_button("mask")
    person.pull((60, 100), (200, 140))
    told = person.document()
    person.press("drag")
    person.says("Dragging .* step [2-9]")
    person.page.reload()
    person.ready()
    person.says("Dragging")
    assert person.document() == told
    assert person.value("prompt") == "a red circle"
    assert person.value("setting_steps") == "400"
    person.press("interrupt")
    assert "best so far" in person.says("Stopped; this is the best so far")
    edit = person.result()
    # A browser that has forgotten the document has it from the server.
    person.page.evaluate("() => sessionStorage.removeItem('dragtext_document')")
    person.page.evaluate("() => addEventListener('pagehide', () => sessionStorage.removeItem('dragtext_document'))")
    person.page.reload()
    person.ready()
    person.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 1", timeout=WAIT)
    assert edit in person.cards()
    assert person.document()["mask"] is True


def test_a_png_brings_everything_back(client, visit, tmp_path):
    person = visit()
    person.open_scene(tmp_path)
    person.pull(*PULL)
    person.tool("pick")
    person.layer_button("region")
    person.tool("brush")
    person.pull((90, 110), (120, 130))
    region = person.layer("region")
    person.press("drag")
    person.says("All steps were used")
    person.result()
    png = person.download(lambda: person.do("download"))
    infotext = person.infotext()
    began = person.document()["picture"]["id"]
    other = visit()
    other.open(png)
    other.says("Restored: 1 drags.*They lie on the picture that they began from")
    assert other.document()["picture"]["id"] == began
    assert np.allclose(other.document()["drags"], [PULL], atol=1)
    assert np.array_equal(other.layer("region"), region)
    assert other.value("prompt") == "a red circle"
    assert other.value("setting_steps") == str(QUICK["steps"])
    other.page.get_by_role("button", name="Open the result instead").click()
    other.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 0", timeout=WAIT)
    assert other.document()["picture"]["id"] != began
    assert other.value("prompt") == "a red circle"
    # An infotext does, too, as far as it goes.
    third = visit()
    third.open(scene_file(tmp_path, 0))
    third.page.locator("#dragtext_infotext_box .label-wrap").click()
    third.fill("infotext", infotext)
    third.press("use")
    third.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 1", timeout=WAIT)
    assert third.value("setting_steps") == str(QUICK["steps"])
    # And a new picture keeps nothing of it.
    third.open(scene_file(tmp_path, 1))
    third.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 0", timeout=WAIT)
    assert third.value("prompt") == ""


def test_exports_and_imports(client, person, tmp_path):
    person.open_scene(tmp_path)
    person.pull(*PULL)
    person.press("drag")
    person.says("All steps were used")
    edit = person.result()
    for kind, ending in (("gif", "GIF"), ("mp4", None)):
        film = person.download(lambda kind=kind: person.item(kind))
        assert film.stat().st_size > 1000
        if ending:
            with Image.open(film) as opened:
                assert opened.format == ending
                assert opened.n_frames > 1
    person.item("request")
    person.says("in the clipboard")
    request = json.loads(person.page.evaluate("() => navigator.clipboard.readText()"))
    assert np.allclose(request["drags"], [PULL], atol=1)
    files = []
    for kind, name in (("dragbench", "meta_data.pkl"), ("drag100", "points.json")):
        with zipfile.ZipFile(person.download(lambda kind=kind: person.item(kind))) as folder:
            (entry,) = [path for path in folder.namelist() if path.endswith(name)]
            files.append(Path(folder.extract(entry, tmp_path / kind)))
    person.do("plot")
    person.page.wait_for_selector("#dragtext_results .dragtext_plot .dragtext_curve_1", timeout=WAIT)
    curve = person.told(f"edits/{edit}/curve")
    assert len(curve["distance"]) == len(curve["loss"]) > 0
    # Each of these brings the drags back onto the picture.
    (tmp_path / "request.json").write_text(json.dumps(request))
    for path in (tmp_path / "request.json", *files):
        person.page.keyboard.press("Escape")
        person.tool("move")
        person.click(PULL[1])
        person.tool("delete")
        person.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 0", timeout=WAIT)
        person.drop(path)
        person.page.wait_for_function("() => window.dragtext.stage().document.drags.length === 1", timeout=WAIT)
        assert np.allclose(person.document()["drags"], [PULL], atol=1), path


def test_one_page_leaves_anothers_edit_alone(client, visit, person, tmp_path):
    person.open_scene(tmp_path, seed=2, **LONG)
    person.pull(*PULL)
    person.press("drag")
    person.says("Dragging")
    other = visit()
    other.press("interrupt")
    other.says("Nothing of this page is running")
    assert other.cards() == []
    other.open_scene(tmp_path, seed=2)
    other.pull(*PULL)
    other.press("drag")
    other.says("1 before this one")
    person.says("Dragging")
    person.press("interrupt")
    person.says("best so far")
    other.says("All steps were used")


@pytest.mark.parametrize("size", [(193, 300), (300, 161), (4000, 3000)], ids=lambda size: "x".join(map(str, size)))
def test_pictures_of_every_shape(client, person, tmp_path, size):
    width, height = size
    path = tmp_path / "picture.png"
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[height // 4 : height // 2, width // 4 : width // 2] = 255, 0, 0
    Image.fromarray(picture).save(path)
    person.open(path)
    assert person.document()["picture"]["width"] == width
    ends = (width * 0.3, height * 0.3), (width * 0.6, height * 0.4)
    person.pull(*ends)
    (pulled,) = person.document()["drags"]
    assert np.allclose(pulled, ends, atol=max(size) / 200)
    person.layer_button("mask")
    person.tool("rectangle")
    person.pull((width * 0.2, height * 0.2), (width * 0.7, height * 0.7))
    mask = person.layer("mask")
    assert mask.shape == (height, width)
    share = mask.mean()
    assert 0.2 < share < 0.3
    if max(size) > 1000:  # an edit of so many pixels takes longer than a test may
        return
    person.press("drag")
    person.says("All steps were used")
    edit = person.result()
    png = person.download(lambda: person.do("download"))
    assert Image.open(png).size == size
    assert person.told(f"edits/{edit}/document")["picture"]["width"] == width


def test_a_quick_result_comes_by_itself_and_goes_with_the_next_movement(client, visit, tmp_path):
    person = visit(quick=True)
    person.open_scene(tmp_path, seed=1)
    person.pull((138, 146), (168, 126))
    person.says("A quick result")
    person.rest()
    quick = person.shown()
    person.pull((168, 126), (175, 110))
    person.rest()
    assert different(quick, person.shown())
    assert person.cards() == []  # nothing of it is kept
    # A real drag goes first.
    person.press("drag")
    person.says("All steps were used")
    assert len(person.cards()) == 1


def test_gradio_moves_none_of_the_canvas_buttons(visit):
    """Its style for what lies in HTML gives buttons a margin, which would put each at another height than the last."""
    page = visit().page
    margins = page.eval_on_selector_all(
        "#dragtext_stage button.dragtext_button, #dragtext_describe button",
        "(all) => all.map((one) => getComputedStyle(one).margin)",
    )
    assert len(margins) > 15
    assert set(margins) == {"0px"}
    page.wait_for_selector("#dragtext_stage .dragtext_examples button")
    assert page.locator("#dragtext_stage .dragtext_first").bounding_box()["height"] == 44
