"""A drag inside a generation, against a WebUI that runs; see test_live.py."""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from .test_live import SETTINGS, URL, client, create, generation, picture  # noqa: F401 (client is a fixture)

pytestmark = pytest.mark.skipif(not URL, reason="DRAGTEXT_WEBUI_URL names no running WebUI")

TITLE = "DragText: repeat a drag"
PLOT = "x/y/z plot"
REQUEST = {"drags": [[[120, 100], [150, 100]]], "prompt": "a cat", "settings": {**SETTINGS, "lora_steps": 0}}


def repeat(client, *given, image: str | None = None, **more):  # noqa: F811
    body = {
        "init_images": [image or picture()], "width": 256, "height": 256, "steps": 4, "sampler_name": "Euler",
        "alwayson_scripts": {TITLE: {"args": list(given)}}, **more,
    }  # fmt: skip
    # Forge resets the connection after an error.
    return client.post("/sdapi/v1/img2img", json=body, headers={"connection": "close"})


def images(answer) -> list[Image.Image]:
    assert answer.status_code == 200, answer.text
    return [Image.open(io.BytesIO(base64.b64decode(image))) for image in answer.json()["images"]]


def pixels(image: Image.Image) -> np.ndarray:
    return np.array(image.convert("RGB"))


def edited(client, **settings) -> np.ndarray:  # noqa: F811
    job = create(client, settings={**REQUEST["settings"], **settings})
    assert job["state"] == "done", job
    return pixels(Image.open(io.BytesIO(client.get(f"/dragtext/v1/edits/{job['id']}/image").content)))


def test_a_generation_drags_and_says_so_and_leaves_no_trace(client):  # noqa: F811
    before = generation(client)
    (image,) = images(repeat(client, True, json.dumps(REQUEST), 1.0))
    assert np.array_equal(pixels(image), edited(client))
    assert image.text["parameters"].startswith("a cat\nSteps: 10, Sampler: DDIM")
    assert "DragText drags:" in image.text["parameters"]
    assert "Denoising strength" not in image.text["parameters"]
    assert generation(client) == before


def test_a_picture_that_carries_its_request_is_dragged_on(client):  # noqa: F811
    job = create(client, settings=REQUEST["settings"])
    file = base64.b64encode(client.get(f"/dragtext/v1/edits/{job['id']}/image").content).decode()
    (image,) = images(repeat(client, True, "", 1.0, image=file))
    assert not np.array_equal(pixels(image), edited(client))  # it began where the first one ended
    (same,) = images(repeat(client, True, json.dumps(REQUEST), 1.0, image=file))
    assert np.array_equal(pixels(image), pixels(same))


def test_what_cannot_be_dragged_is_no_ordinary_picture(client):  # noqa: F811
    answer = repeat(client, True, "", 1.0)
    assert answer.status_code == 500
    assert "There is no drag to repeat" in answer.text


def test_a_plot_varies_the_drag(client):  # noqa: F811
    axes = axis_numbers(client)
    given = [axes["DragText v"], "0, 1", [], axes["DragText text weight"], "0, 0.3", [], axes["Nothing"], "", []]
    # Legend, lone images, sub grids, seeds as they are, seeds that vary along x, y and z, margin, values as text.
    switches = [True, True, False, False, False, False, False, 0, True]
    answer = repeat(client, True, json.dumps(REQUEST), 1.0, script_name=PLOT, script_args=[*given, *switches])
    grid, *cells = images(answer)
    assert grid.width > 2 * 256
    cells = [pixels(cell) for cell in cells if cell.size == (256, 256)]
    assert len(cells) == 4
    assert np.array_equal(cells[1], edited(client, text_weight=0.0))
    assert np.array_equal(cells[3], edited(client, text_weight=0.3))
    assert not np.array_equal(cells[0], cells[1])


def axis_numbers(client) -> dict[str, int]:  # noqa: F811
    """Numbers of the plot's axes in img2img, read from its list of choices."""
    for script in client.get("/sdapi/v1/script-info").json():
        if script["name"].lower() == PLOT and script["is_img2img"]:
            for argument in script["args"]:
                if argument.get("choices") and "DragText v" in argument["choices"]:
                    return {name: number for number, name in enumerate(argument["choices"])}
    pytest.fail("The plot has no axis of ours.")
