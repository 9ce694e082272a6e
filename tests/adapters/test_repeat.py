"""A drag inside a generation: the script on stand-ins of both hosts, run as a host runs its generations."""

from __future__ import annotations

import copy
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext.extension.hosts.axes import LABELS, add_axes
from dragtext.extension.hosts.repeat import RECORDS, TITLE, add_records, decoded, make_script
from dragtext.extension.infotext import read_infotext
from dragtext.extension.queue import Jobs
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.masks import mask_to_uri
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from .conftest import picture
from .ldm_host import install, unchanged

SETTINGS = {"steps": 2, "inference_steps": 6, "lora_steps": 0, "drag_levels": 2}


class DecodedSamples(list):
    already_decoded = True


@pytest.fixture
def script(host, monkeypatch):
    monkeypatch.setattr(sys.modules["modules.processing"], "DecodedSamples", DecodedSamples, raising=False)
    if "modules.devices" not in sys.modules:
        install(monkeypatch, "modules.devices", without_autocast=nullcontext)
    install(monkeypatch, "modules.scripts", Script=object, AlwaysVisible=object(), scripts_data=[])
    jobs = Jobs(host)
    made = make_script(jobs)()
    made.host, made.jobs = host, jobs
    yield made
    jobs.close()


def request(prompt: str = "a cat", **settings) -> Request:
    return Request(make_drags([((20, 30), (50, 30))]), prompt, None, make_settings({**SETTINGS, **settings}))


def generation(image: Image.Image | None, prompt: str = "", **more) -> SimpleNamespace:
    return SimpleNamespace(
        prompt=prompt, init_images=[image] if image else [], image_mask=None, batch_size=2, n_iter=3, seeds=[7],
        extra_generation_params={"Denoising strength": 0.75, "Other": 1}, width=512, height=512, **more,
    )  # fmt: skip


def generate(script, p: SimpleNamespace, *given) -> np.ndarray:
    """What hosts do, as far as it matters: callbacks, then sampling without gradients."""
    script.before_process(p, *given)
    p.all_prompts, p.all_seeds, p.all_negative_prompts = [p.prompt], [7], ["ugly"]
    script.process(p, *given)
    with script.host.turn("generation"), torch.inference_mode():
        samples = p.sample(conditioning=None, prompts=p.all_prompts)
    assert samples.already_decoded
    scaled = torch.clamp((torch.stack(samples).float() + 1) / 2, 0, 1)
    return (255 * scaled[0].movedim(0, -1).numpy()).astype(np.uint8)


def test_a_generation_gives_what_an_edit_gives(script):
    made = generate(script, generation(picture()), True, request().to_json(), 1.0)
    expected = script.jobs.submit(picture(), request(), save=False)
    assert expected.ended.wait(120)
    assert np.array_equal(made, np.asarray(expected.image))


def test_the_generation_says_what_was_done(script):
    p = generation(picture(), seed=7)
    generate(script, p, True, request(text_weight=0.2).to_json(), 1.0)
    assert (p.batch_size, p.n_iter, p.sampler_name, p.seeds, p.all_negative_prompts) == (1, 1, "DDIM", [42], [""])
    assert (p.steps, p.width, p.height) == (6, 128, 64)
    assert "Denoising strength" not in p.extra_generation_params  # it would switch Hires. fix on in txt2img
    assert p.extra_generation_params["Other"] == 1
    line = ", ".join(f'{name}: "{value}"' for name, value in p.extra_generation_params.items())
    assert read_infotext(f"a cat\nSteps: 6, {line}").request == request(text_weight=0.2)
    params = SimpleNamespace(p=p, pnginfo={"parameters": "text"})
    add_records(params)
    assert Request.from_json(params.pnginfo["dragtext"]) == request(text_weight=0.2)
    grid = SimpleNamespace(p=SimpleNamespace(), pnginfo={})
    add_records(grid)
    assert not grid.pnginfo


def test_a_guided_drag_is_told_as_the_hosts_tell_a_generation(script):
    p = generation(picture())
    asked = request(guidance=2, negative_prompt="blurry, bad")
    generate(script, p, True, asked.to_json(), 1.0)
    assert (p.all_negative_prompts, p.main_negative_prompt) == (["blurry, bad"], "blurry, bad")
    assert (p.cfg_scale, type(p.cfg_scale)) == (2, int)
    line = ", ".join(f'{name}: "{value}"' for name, value in p.extra_generation_params.items())
    text = f"a cat\nNegative prompt: {p.main_negative_prompt}\nSteps: 6, CFG scale: {p.cfg_scale}, {line}"
    assert read_infotext(text).request == asked


def test_a_picture_brings_its_own_request(script):
    image = picture()
    image.info = {"dragtext": request().to_json(), "dpi": (72, 72)}
    made = generate(script, generation(image), True, "", 1.0)
    assert np.array_equal(made, generate(script, generation(picture()), True, request().to_json(), 1.0))


def test_an_infotext_of_an_edit_that_is_known_brings_its_mask(script):
    mask = np.zeros((64, 128), bool)
    mask[:, :100] = True
    asked = Request(request().drags, "a cat", mask_to_uri(mask), request().settings)
    edit = script.jobs.submit(picture(), asked, save=False)
    assert edit.ended.wait(120)
    p = generation(picture())
    made = generate(script, p, True, edit.infotext, 1.0)
    assert np.array_equal(made, np.asarray(edit.image))
    assert p.extra_generation_params["DragText mask"] == "yes"


def test_the_generations_prompt_goes_before_the_requests(script):
    p = generation(picture(), prompt="the red dog")
    generate(script, p, True, request().to_json(), 1.0)
    assert p.all_prompts == ["the red dog"]
    assert Request.from_json(getattr(p, RECORDS)["dragtext"]).prompt == "the red dog"


def test_another_v_is_a_point_of_the_same_edit(script):
    def edits() -> int:
        return sum(job.kind == "edit" for job in script.jobs.all())

    half = generate(script, generation(picture()), True, request().to_json(), 0.5)
    assert edits() == 1
    whole = generate(script, generation(picture()), True, request().to_json(), 1.0)
    assert edits() == 1
    assert not np.array_equal(half, whole)
    generate(script, generation(picture()), True, request(steps=3).to_json(), 0.5)
    assert edits() == 2


def test_a_plots_axes_set_the_requests_settings(script, monkeypatch):
    options = [SimpleNamespace(label="Seed")]
    added = lambda label, kind, apply, **more: SimpleNamespace(label=label, type=kind, apply=apply, **more)  # noqa: E731
    plot = SimpleNamespace(axis_options=options, AxisOptionImg2Img=added)
    other = SimpleNamespace(module=SimpleNamespace(), path="/x/loopback.py")
    sys.modules["modules.scripts"].scripts_data += [
        other, SimpleNamespace(module=plot, path="/x/scripts/xyz_grid.py")
    ]  # fmt: skip
    add_axes()
    add_axes()
    assert [option.label for option in options] == ["Seed", *LABELS.values()]
    by_label = {option.label: option for option in options}
    p = generation(picture())
    for name, value in {"method": "freedrag", "text_weight": 0.1, "strength": 0.6, "v": 0.5}.items():
        cell = copy.copy(p)
        option = by_label[LABELS[name]]
        option.apply(cell, option.type(value), [])
        generate(script, cell, True, request().to_json(), 1.0)
        asked = Request.from_json(getattr(cell, RECORDS)["dragtext"])
        if name == "v":
            assert cell.extra_generation_params["DragText v"] == "0.5"
        else:
            assert getattr(asked.settings, name) == value
    assert p.extra_generation_params == {"Denoising strength": 0.75, "Other": 1}  # cells share nothing of ours


def test_an_axis_without_the_script_is_refused(script):
    p = SimpleNamespace(scripts=SimpleNamespace(alwayson_scripts=[script]), script_args=[0, True, "", 1.0])
    script.args_from = 1
    plot = SimpleNamespace(axis_options=[], AxisOptionImg2Img=lambda *_, **more: SimpleNamespace(label="", **more))
    sys.modules["modules.scripts"].scripts_data.append(SimpleNamespace(module=plot, path="xyz_grid.py"))
    add_axes()
    plot.axis_options[0].confirm(p, [])
    p.script_args[1] = False
    with pytest.raises(InputError, match=f"switch on '{TITLE}'"):
        plot.axis_options[0].confirm(p, [])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": ""}, "There is no drag to repeat"),
        ({"text": "{"}, "request"),
        ({"text": "no infotext\nSteps: 20, Sampler: DDIM"}, "There is no drag to repeat"),
        ({"image": None}, "There is no picture to drag"),
        ({"mask": picture()}, "A drag has its mask in its request"),
        ({"text": Request(make_drags([((20, 30), (500, 30))]), "a cat").to_json()}, "outside the image"),
        ({"text": Request(make_drags([((20, 30), (50, 30))]), "a cat", "mask.png").to_json()}, "file of its own"),
    ],
)
def test_what_cannot_be_dragged_is_a_sentence_and_no_ordinary_picture(script, given, sentence):
    p = generation(given.get("image", picture()))
    p.image_mask = given.get("mask")
    with pytest.raises(InputError, match=sentence):
        generate(script, p, True, given.get("text", request().to_json()), 1.0)


def test_switched_off_it_leaves_a_generation_alone(script):
    p = generation(picture())
    before = dict(vars(p))
    script.before_process(p, False, "", 1.0)
    script.process(p, False, "", 1.0)
    assert vars(p) == before


def test_it_leaves_no_trace_on_the_model(script):
    with unchanged(script.host.whole):
        generate(script, generation(picture()), True, request(lora_steps=1, lora_batch=1).to_json(), 1.0)


def test_every_pixel_survives_the_hosts_way():
    values = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = decoded(Image.fromarray(values))
    scaled = 255 * ((tensor + 1) / 2).clamp(0, 1).movedim(0, -1).numpy()
    assert np.array_equal(scaled.astype(np.uint8), values)
    assert np.array_equal(np.rint(scaled), values)
