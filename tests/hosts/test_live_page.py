"""Pictures from the WebUI's other tabs to the Drag tab and back, in a real browser; see test_live.py."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from .test_live import SETTINGS, URL, picture

pytestmark = pytest.mark.skipif(not URL, reason="DRAGTEXT_WEBUI_URL names no running WebUI")

WAIT = 600_000  # milliseconds; a generation on a busy CPU
MASK = np.zeros((256, 256), bool)
MASK[64:160, 64:160] = True
INFOTEXT = "a red cat\nSteps: 10, Sampler: DDIM, CFG scale: 1"
SEND = """async ([target, picture, mask, infotext]) => {
  const blob = async (address) => (address ? (await fetch(address)).blob() : null);
  await window.dragtext_send.to(target, await blob(picture), await blob(mask), infotext);
}"""
SHOWN = """async (box) => {
  const { src } = document.querySelector(`#${box} img`);
  const bytes = new Uint8Array(await (await fetch(src)).arrayBuffer());
  return btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ""));
}"""


def uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


SENT = Image.open(io.BytesIO(base64.b64decode(picture()))).convert("RGB")


@pytest.fixture(scope="module")
def page(browser):
    page = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en").new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(error.stack or str(error)))
    page.goto(URL, timeout=WAIT)
    page.set_default_timeout(WAIT)
    page.wait_for_function("() => window.dragtext?.stage?.()?.canvas && window.dragtext_send")
    yield page
    page.context.close()
    assert faults == []


def set_number(page, name: str, value: float) -> None:
    """Without going into the box: one that is left makes A1111's own script fail (onCalcResolutionHires)."""
    box = page.locator(f"#{name} input[type=number]").first
    box.evaluate("(box, value) => { box.value = value; updateInput(box); }", str(value))


def generate(page, tab: str) -> Image.Image:
    """Press Generate in the tab that is open, with as little work as can be."""
    for name, value in {"steps": 2, "width": 256, "height": 256}.items():
        set_number(page, f"{tab}_{name}", value)
    before = page.evaluate("(box) => document.querySelector(`#${box} img`)?.src", f"{tab}_gallery")
    page.locator(f"#{tab}_generate").click()
    changed = "([box, before]) => ![undefined, '', before].includes(document.querySelector(`#${box} img`)?.src)"
    page.wait_for_function(changed, arg=[f"{tab}_gallery", before])
    page.wait_for_function(f"() => getComputedStyle(document.querySelector('#{tab}_interrupt')).display === 'none'")
    return shown(page, f"{tab}_gallery")


def shown(page, box: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(page.evaluate(SHOWN, box)))).convert("RGB")


def gallery(page) -> list[Image.Image]:
    """The pictures of img2img's gallery in their order; the one that is shown large aside."""
    addresses = page.eval_on_selector_all("#img2img_gallery .thumbnail-item img", "(all) => all.map((one) => one.src)")
    files = [page.request.get(address).body() for address in dict.fromkeys(addresses)]
    return [Image.open(io.BytesIO(file)).convert("RGB") for file in files]


def in_drag_tab(page, size: tuple[int, int], name: str = "") -> None:
    page.wait_for_selector("#dragtext_canvas", state="visible")
    page.wait_for_function(
        "([width, height, name]) => { const found = window.dragtext.stage().document.picture;"
        " return found?.width === width && found?.height === height && found?.name.includes(name); }",
        arg=[*size, name],
    )


def test_each_tab_with_a_gallery_has_one_button(page):
    for row in ("image_buttons_txt2img", "image_buttons_img2img", "image_buttons_extras"):
        assert page.locator(f"#{row} .dragtext_send_button").count() == 1
    assert page.locator(".dragtext_send_button").count() == 4  # and PNG Info


def test_a_generated_picture_goes_to_the_drag_tab_with_its_prompt(page):
    page.evaluate("switch_to_txt2img()")
    page.locator("#txt2img_prompt textarea").fill("a blue cat")
    made = generate(page, "txt2img")
    page.locator("#image_buttons_txt2img .dragtext_send_button").click()
    in_drag_tab(page, made.size)
    page.wait_for_function("() => document.querySelector('#dragtext_prompt textarea')?.value === 'a blue cat'")


def test_a_picture_in_png_info_goes_to_the_drag_tab(page):
    page.get_by_role("tab", name="PNG Info", exact=True).or_(
        page.get_by_role("button", name="PNG Info", exact=True)
    ).first.click()
    file = {"name": "seen.png", "mimeType": "image/png", "buffer": base64.b64decode(uri(SENT).partition(",")[2])}
    page.locator("#pnginfo_image input[type=file]").set_input_files(file)
    page.wait_for_selector("#pnginfo_image img")
    page.locator(".dragtext_send_button:visible").click()
    in_drag_tab(page, SENT.size)


@pytest.mark.parametrize("again", [False, True], ids=["into an empty box", "in place of another"])
def test_a_result_goes_to_img2img_with_its_prompt(page, again):
    sent = SENT.rotate(90) if again else SENT
    page.evaluate(SEND, ["img2img", uri(sent), None, INFOTEXT])
    page.wait_for_selector("#img2img_generate", state="visible")
    assert page.locator("#img2img_prompt textarea").input_value() == "a red cat"
    set_number(page, "img2img_denoising_strength", 0)
    made = np.asarray(generate(page, "img2img"), float)
    # Without noise it comes out as it is, but for the autoencoder.
    near, far = (np.abs(made - np.asarray(other, float)).mean() for other in (sent, sent.rotate(90)))
    assert near < far


def test_a_result_goes_to_extras(page):
    page.evaluate(SEND, ["extras", uri(SENT), None, INFOTEXT])
    page.wait_for_selector("#extras_image", state="visible")
    page.locator("#extras_generate").click()
    page.wait_for_selector("#extras_gallery img")
    page.locator("#image_buttons_extras .dragtext_send_button").click()
    page.wait_for_function("() => window.dragtext.stage().document.picture?.width >= 256")


def test_a_result_goes_to_inpaint_with_its_mask(page):
    page.evaluate(SEND, ["inpaint", uri(SENT), uri(Image.fromarray(MASK.astype(np.uint8) * 255)), INFOTEXT])
    page.wait_for_selector("#img2img_generate", state="visible")
    page.wait_for_timeout(1000)
    set_number(page, "img2img_mask_blur", 0)
    set_number(page, "img2img_denoising_strength", 1)
    made, before = np.asarray(generate(page, "img2img"), int), np.asarray(SENT, int)
    changed = np.abs(made - before).max(2) > 0
    assert not changed[~MASK].any()
    assert changed[MASK].mean() > 0.5


def test_a_result_without_a_mask_goes_to_inpaint(page):
    page.evaluate(SEND, ["inpaint", uri(SENT), None, ""])
    page.wait_for_selector("#img2maskimg", state="visible")
    page.wait_for_selector("#img2maskimg img, #img2maskimg canvas", state="attached")


REQUEST = {"drags": [[[120, 100], [150, 100]]], "prompt": "a cat", "settings": {**SETTINGS, "lora_steps": 0}}


@pytest.fixture
def repeating(page):
    """img2img with a drag to repeat; switched off again."""
    page.evaluate("switch_to_img2img()")
    page.locator("#img2img_prompt textarea").fill("")
    if not page.locator("#dragtext_repeat_enabled").is_visible():
        page.locator("#dragtext_repeat").get_by_text("DragText: repeat a drag").click()
    page.locator("#dragtext_repeat_enabled input").check()
    page.locator("#dragtext_repeat_request textarea").fill(json.dumps(REQUEST))
    yield page
    page.locator("#dragtext_repeat_enabled input").uncheck()


def says_what_was_dragged(page) -> None:
    page.wait_for_function("() => document.querySelector('#html_info_img2img').innerText.includes('DragText drags')")


def test_img2img_repeats_a_drag(repeating):
    repeating.evaluate(SEND, ["img2img", uri(SENT), None, ""])
    assert generate(repeating, "img2img").size == SENT.size
    says_what_was_dragged(repeating)


def test_the_batch_tab_repeats_a_drag_on_each_picture(repeating, tmp_path):
    page = repeating
    batch = [page.locator("#mode_img2img").get_by_role(role, name="Batch", exact=True) for role in ("tab", "button")]
    batch[0].or_(batch[1]).first.click()
    sent = [SENT, SENT.transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    files = [tmp_path / f"{n}.png" for n in range(len(sent))]
    for file, one in zip(files, sent, strict=True):
        one.save(file)
    page.locator("#img2img_batch_upload input[type=file]").set_input_files(files)
    page.wait_for_function(
        "() => ['0.png', '1.png'].every((name) => document.querySelector('#img2img_batch_upload').innerText"
        ".replace(/\\s/g, '').includes(name))"
    )
    generate(page, "img2img")
    says_what_was_dragged(page)
    made = [np.asarray(one, float) for one in gallery(page)]
    assert len(made) == len(sent)
    for one, other in zip(made, sent, strict=True):
        before = np.asarray(other, float)
        near, far = (np.abs(one - wanted).mean() for wanted in (before, before[::-1]))
        assert 0 < near < far
