"""What stands around an edit: descriptions, mistakes, the form, examples, other screens and other tabs."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from .conftest import PULL
from .person import WAIT, scene_file


def test_the_picture_is_described(person):
    person.page.locator('#dragtext_stage [data-example="duck"]').click()
    person.has_picture()
    person.fill("prompt", "mine")
    person.page.locator("#dragtext_describe button").click()
    person.says("This is what is seen in it")
    assert "duck" in person.value("prompt")
    person.shot("described")
    person.page.get_by_role("button", name="Back to what stood there").click()
    assert person.value("prompt") == "mine"


def test_mistakes_are_a_line_on_the_page(person, tmp_path):
    person.press("drag")
    person.says("There is no picture")
    person.open_scene(tmp_path)
    person.press("drag")
    person.says("no drags yet")
    person.fill("setting_steps", "many")
    person.pull(*PULL)
    person.press("drag")
    person.says("'steps'")
    # A file that asks for nothing leaves the picture and its drags as they are.
    (tmp_path / "empty.json").write_text("{}")
    person.drop(tmp_path / "empty.json")
    person.says("holds no drags")
    assert np.allclose(person.document()["drags"], [PULL], atol=1)
    assert "/requests" in person.faults.pop()  # the browser's own word for a refusal
    assert person.page.locator("#dragtext_version").inner_text().startswith("DragText ")
    person.press("report")
    person.says("in the clipboard")
    assert "dragtext:" in person.page.evaluate("() => navigator.clipboard.readText()")
    person.press("clear_cache")
    person.says("were deleted")


def test_settings_are_found_set_kept_and_forgotten(client, person, tmp_path):
    person.page.locator("#dragtext_advanced .label-wrap").click()
    search = person.page.locator(".dragtext_search")
    search.fill("lora rank")
    assert person.page.locator("#dragtext_setting_lora_rank").is_visible()
    assert not person.page.locator("#dragtext_setting_patience").is_visible()
    search.fill("")
    # A slider writes its box, the arrow takes it back.
    steps = person.page.locator("#dragtext_setting_steps")
    assert person.value("setting_steps") == "6"
    steps.locator("input[type=range]").fill("500")
    assert int(person.value("setting_steps")) > 100
    steps.locator(".dragtext_reset").click()
    assert person.value("setting_steps") == ""
    # A text has a box as wide as the form, for words.
    words = person.page.locator("#dragtext_setting_negative_prompt [data-testid=textbox]")
    assert words.bounding_box()["width"] > 150
    assert words.get_attribute("inputmode") is None
    person.fill("setting_negative_prompt", "blurry, bad")
    # A preset comes back by its name.
    person.fill("setting_steps", 17)
    person.page.locator('[data-preset="save"]').click()
    person.page.locator(".dragtext_preset_new input").fill("short")
    person.page.keyboard.press("Enter")
    person.says("Saved as short")
    person.fill("setting_steps", "")
    person.fill("setting_negative_prompt", "")
    person.page.locator("#dragtext_preset").select_option("short")
    person.page.wait_for_function("() => document.querySelector('#dragtext_setting_steps [type=text]').value === '17'")
    assert words.input_value() == "blurry, bad"
    person.page.locator('[data-preset="delete"]').click()
    person.says("Deleted: short")
    assert "short" not in person.told("presets")
    # What the tab begins with.
    person.page.locator('[data-preset="begin"]').click()
    person.says("begins with these")
    person.page.evaluate("() => sessionStorage.removeItem('dragtext_form')")
    person.page.evaluate("() => addEventListener('pagehide', () => sessionStorage.removeItem('dragtext_form'))")
    person.page.reload()
    person.ready()
    person.page.wait_for_function("() => document.querySelector('#dragtext_setting_steps [type=text]').value === '17'")
    person.page.locator("#dragtext_preset").select_option("default")
    person.page.locator('[data-preset="delete"]').click()
    person.says("Deleted")


def test_examples_teach_by_doing(client, person):
    person.page.wait_for_selector("#dragtext_stage .dragtext_example img[src]", timeout=WAIT)
    assert person.page.locator("#dragtext_stage .dragtext_example").count() == 4
    person.shot("empty")
    person.page.locator("#dragtext_stage .dragtext_example").first.click()
    person.has_picture()
    assert person.document()["drags"]
    assert person.value("prompt")
    method = person.page.locator("#dragtext_setting_method input")
    assert method.input_value() == "recommended"  # by the model, not by the example


@pytest.mark.parametrize(
    ("query", "more"),
    [
        ("", {"viewport": {"width": 900, "height": 800}}),
        ("/?__theme=dark", {}),
        ("", {"viewport": {"width": 820, "height": 1180}, "has_touch": True, "is_mobile": True}),
        ("", {"locale": "de-DE"}),
    ],
    ids=["900px", "dark", "tablet", "german"],
)
def test_the_page_on_other_screens(client, visit, tmp_path, query, more, request):
    person = visit(query, **more)
    page = person.page
    assert person.in_sight("#dragtext_drag", "#dragtext_stage .dragtext_toolbar")
    page.set_input_files("#dragtext_stage input[type=file]", str(scene_file(tmp_path, 1)))
    page.wait_for_function("() => window.dragtext.stage().document.picture", timeout=WAIT)
    if more.get("has_touch"):
        person.touch((138, 146), (168, 126))
    else:
        person.pull((138, 146), (168, 126))
    assert np.allclose(person.document()["drags"], [[[138, 146], [168, 126]]], atol=2)
    person.press("drag")
    page.wait_for_selector("#dragtext_results .dragtext_after:not([hidden])", timeout=WAIT)
    person.shot(request.node.callspec.id)
    if more.get("locale") == "de-DE":
        assert page.locator("#dragtext_drag").inner_text() == "Ziehen"
        assert page.locator('[data-do="onward"]').inner_text() == "Von hier weiter"
        person.says("Alle Schritte sind verbraucht: noch .* Gespeichert als")
        assert "Startwert" in page.locator("#dragtext_setting_seed").inner_text()
    if "dark" in query:
        assert person.shown()[3, 3].max() < 90
    assert person.in_sight("#dragtext_drag")


def test_another_tab_hands_its_picture_over(client, person, tmp_path):
    person.page.evaluate(
        "(bytes) => window.dragtext.openUrl(URL.createObjectURL(new Blob([new Uint8Array(bytes)])), 'theirs.png')",
        list(scene_file(tmp_path, 0).read_bytes()),
    )
    person.has_picture()
    assert person.document()["picture"]["name"] == "theirs.png"
    data = io.BytesIO()
    Image.new("RGB", (70, 90), "red").save(data, "PNG")
    person.paste(data.getvalue())
    person.page.wait_for_function("() => window.dragtext.stage().document.picture.width === 70", timeout=WAIT)
