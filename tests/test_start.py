"""Edits with a start: every method begins there, what is asked for is said and saved, and none is what it was."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.drag import LOOPS, METHODS
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model.recommended import read_recommended, recommended_file
from dragtext.sdk.request import Request
from dragtext.sdk.settings import given_settings, make_settings, with_recommended
from PIL import Image

FAST = {"inference_steps": 6, "lora_steps": 0, "steps": 2}
DRAG = [((36, 48), (60, 48))]


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    image = np.full((96, 112, 3), (180, 190, 170), np.uint8)
    image[36:60, 24:48] = (200, 40, 40)
    image[44:52, 32:40] = (250, 240, 60)
    return image


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    area = np.zeros((96, 112), bool)
    area[28:68, 16:84] = True
    return area


@pytest.fixture
def editor(model, picture):
    return sdk.Editor(model, picture, "a red square")


@pytest.mark.parametrize("method", METHODS)
def test_every_method_begins_where_the_content_should_be(editor, mask, method):
    result = editor.drag(DRAG, mask=mask, method=method, start="warp", **FAST)
    assert result.region == "found"
    assert result.start.place[48, 60] == pytest.approx(1)
    assert result.trajectory[0, 0] == pytest.approx((36, 48), abs=2)
    if method != "gooddrag":  # which looks first, and features of random weights lead it astray
        assert result.trajectory[1, 0] == pytest.approx((60, 48), abs=6)
    assert not torch.equal(result.latent_before, result.latent_after)
    outside = np.array(result.image)[~mask]
    assert (outside == np.full_like(outside, (180, 190, 170))).all()


@pytest.mark.parametrize("start", ["cells", "field"])
def test_starts_of_cells_need_no_second_encoding(editor, mask, start, monkeypatch):
    encoded = []
    encode = editor.model.encode_image
    monkeypatch.setattr(editor.model, "encode_image", lambda image: encoded.append(image) or encode(image))
    result = editor.drag(DRAG, mask=mask, method="warp", start=start, **FAST)
    assert not torch.equal(result.latent_before, result.latent_after)
    assert len(encoded) == 1
    editor.drag(DRAG, mask=mask, method="warp", start="warp", **FAST)
    assert len(encoded) == 2


@pytest.mark.parametrize("start", ["cells", "field"])
def test_starts_of_cells_keep_no_moved_pixels(editor, mask, start):
    asked = {"method": "warp", "start": start, **FAST}
    revealed = editor.drag(DRAG, mask=mask, repaint="revealed", **asked)
    everything = editor.drag(DRAG, mask=mask, repaint="mask", **asked)
    assert np.array_equal(revealed.image, everything.image)


def test_a_mere_start_keeps_what_it_moved(editor, mask, picture):
    result = editor.drag(DRAG, mask=mask, method="warp", **FAST)
    assert (result.stopped, result.steps, result.reached) == ("reached", 0, True)
    here, there = picture[44:52, 32:40], np.array(result.image)[44:52, 56:64]
    assert np.abs(there.astype(int) - here).max() <= 1
    everything = editor.drag(DRAG, mask=mask, method="warp", repaint="mask", **FAST)
    assert np.abs(np.array(everything.image)[44:52, 56:64].astype(int) - here).max() > 1


def test_short_drags_are_none_for_a_start(editor, mask):
    result = editor.drag([((36, 48), (38, 48))], mask=mask, method="warp", **FAST)
    assert result.reached
    assert np.array_equal(result.start.region, editor.drag(DRAG, mask=mask, method="warp", **FAST).start.region)


def test_a_region_makes_the_mask(editor, picture):
    region = np.zeros((96, 112), bool)
    region[36:60, 24:48] = True
    result = editor.drag(DRAG, region=region, method="warp", **FAST)
    assert result.region == "given"
    assert (np.array(result.image)[:12] == picture[:12]).all()
    again = Request.from_json(result.request.to_json())
    assert again.region == result.request.region
    assert again.region.startswith("data:image/png")
    with pytest.raises(InputError, match=r"The region cannot be used\. The mask is 5x5"):
        editor.drag(DRAG, region=np.ones((5, 5), bool), **FAST)


def test_a_saved_state_keeps_the_start(editor, mask, model, tmp_path):
    result = editor.drag(DRAG, mask=mask, method="warp", **FAST)
    result.save_state(tmp_path / "edit.safetensors")
    opened = sdk.open_result(tmp_path / "edit.safetensors", model)
    assert np.array_equal(np.array(opened.at(1.0)), np.array(result.at(1.0)))
    assert np.abs(np.array(opened.at(0.0)).astype(int) - np.array(result.at(1.0))).max() > 1


def test_a_preview_needs_no_model(model, picture, mask):
    editor = sdk.Editor(model, picture)
    with editor.attached(model):
        pass  # and is taken back
    shown = np.array(editor.preview(DRAG, mask=mask))
    assert shown.shape == picture.shape
    assert np.abs(shown[44:52, 56:64].astype(int) - picture[44:52, 32:40]).max() <= 1
    assert np.abs(shown[44:52, 32:40].astype(int) - (180, 190, 170)).max() < 30


def test_a_warp_without_a_start_is_refused(editor):
    with pytest.raises(InputError, match="nothing but its start"):
        editor.drag(DRAG, method="warp", start="none", **FAST)


@pytest.mark.parametrize("method", LOOPS)
def test_without_a_start_nothing_of_it_is_there(editor, mask, method):
    result = editor.drag(DRAG, mask=mask, method=method, **FAST)
    assert (result.start, result.region, result.recommended) == (None, None, {})


# Settings that travel with a model.


@pytest.fixture
def suited(model, monkeypatch):
    monkeypatch.setattr(
        type(model), "recommended", {"default": {"method": "warp", "inference_steps": 6}, "rotate": {"strength": 0.5}}
    )
    return model


def test_a_models_own_settings_are_used_and_named(suited, picture, mask):
    editor = sdk.Editor(suited, picture, "a red square")
    result = editor.drag(DRAG, mask=mask)
    assert result.recommended == {"method": "warp", "inference_steps": 6}
    assert result.report()["recommended"] == result.recommended
    assert result.settings.method == "warp"
    assert result.request.settings.method == "warp"  # so that the picture can be made again elsewhere
    spokes = np.array([(0.0, -10.0), (8.0, 6.0), (-8.0, 6.0)])
    ends = spokes @ np.array([[0.8, 0.6], [-0.6, 0.8]]) + (36, 48)
    turned = editor.drag(list(zip(spokes + (36, 48), ends)), mask=mask)
    assert turned.recommended["strength"] == 0.5


def test_what_is_asked_for_wins():
    own = {"method": "warp", "strength": 0.6, "repaint": "revealed"}
    assert with_recommended(make_settings({"strength": 0.9}), own)[0].strength == 0.9
    settings, taken = with_recommended(make_settings({"method": "freedrag"}), own)
    assert (settings.method, taken) == ("freedrag", {})
    # Who gives a loop's settings wants a loop, behind the start.
    settings, taken = with_recommended(make_settings({"steps": 30}), own)
    assert (settings.method, settings.start, settings.steps) == ("gooddrag", "warp", 30)
    assert "repaint" not in taken
    settings, _ = with_recommended(make_settings({"start": "none"}), own)
    assert (settings.method, settings.start) == ("gooddrag", "none")


def test_defaults_do_not_count_as_asked_for():
    assert given_settings(make_settings({})) == {}
    assert given_settings(make_settings({"lr": None, "seed": 42})) == {"seed": 42}
    assert given_settings(make_settings({"steps": 3}, make_settings({"seed": 7}))) == {"seed": 7, "steps": 3}


def test_where_the_settings_lie(tmp_path):
    assert recommended_file(tmp_path).name == "dragtext.json"
    assert recommended_file(tmp_path / "cat.safetensors").name == "cat.dragtext.json"
    assert read_recommended(tmp_path) == {}
    (tmp_path / "dragtext.json").write_text(json.dumps({"settings": {"default": {"method": "freedrag"}}}))
    assert read_recommended(tmp_path) == {"default": {"method": "freedrag"}}


@pytest.mark.parametrize(
    "content", ["", "[]", '{"settings": 3}', '{"settings": {"fly": {}}}', '{"settings": {"default": {"lr": "x"}}}']
)
def test_settings_that_are_none_are_one_sentence(tmp_path, content):
    (tmp_path / "dragtext.json").write_text(content)
    with pytest.raises(ModelError, match=r"dragtext\.json beside the model"):
        read_recommended(tmp_path)


def test_the_embedded_model_brings_its_own():
    from dragtext.sdk.model.load import EMBEDDED

    assert read_recommended(EMBEDDED)["default"]["method"] == "warp"


def test_regions_on_the_command_line_are_read_like_masks(tmp_path, picture):
    from dragtext.sdk.command.arguments import read_inputs

    Image.fromarray(picture).save(tmp_path / "in.png")
    region = np.zeros((96, 112), np.uint8)
    region[36:60, 24:48] = 255
    Image.fromarray(region).save(tmp_path / "region.png")
    asked, _, _ = read_inputs(
        str(tmp_path / "in.png"), None, ["36,48:60,48"], None, [str(tmp_path / "region.png")], None, {}
    )
    assert asked.region[0].startswith("data:image/png")
