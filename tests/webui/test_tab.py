"""The tab's components and each one's action, under whichever gradio is installed."""

from __future__ import annotations

import html
import io
import json
import re

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.masks import from_uri, load_mask
from dragtext.sdk.request import make_drags
from dragtext.sdk.settings import as_dict, catalogue, make_settings
from PIL import Image

from ..jobs import QUICK, finished, picture

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")

from dragtext.extension import actions, form, layout, points, words
from dragtext.extension.actions import KEEP
from dragtext.extension.job import EditJob
from dragtext.extension.pictures import png_of

PAGE, OTHER = "a" * 32, "b" * 32
LINE = "20,30 -> 50,30"
DRAGS = [[[20, 30], [50, 30]]]


def values(**more) -> tuple:
    asked = as_dict(make_settings({**QUICK, "lora_steps": 0, **more}))
    return tuple(form.shown_value(info, asked[info.name]) for info in catalogue())


def document(jobs, **more) -> str:
    return json.dumps({"picture": jobs.pictures.add(png_of(picture())).id, "drags": DRAGS, **more})


def drag(jobs, page=PAGE, mask=None, region=None, **more) -> EditJob:
    asked = document(jobs, mask=mask, region=region)
    job_id, status = actions.submit(jobs, page, "", asked, "a cat", values(**more))
    assert not status.bad, status.text
    return jobs.get(job_id)


def area(jobs) -> str:
    """The id of an uploaded layer."""
    painted = np.zeros((64, 80), np.uint8)
    painted[20:40, 10:60] = 255
    return jobs.pictures.add(png_of(painted)).id


def test_every_setting_has_a_component_and_is_told_to_the_script(jobs):
    page = layout.build(jobs).get_config_file()
    names = {component["props"].get("elem_id") for component in page["components"]}
    assert {f"dragtext_setting_{info.name}" for info in catalogue()} <= names
    assert {"dragtext_prompt", "dragtext_drag", "dragtext_interrupt", "dragtext_result", "dragtext_infotext"} <= names
    labels = [c["props"].get("label") for c in page["components"] if c["props"].get("label")]
    assert len(labels) == len(set(labels))  # A1111 keeps what belongs to a component under its label
    (told,) = [c["props"]["value"] for c in page["components"] if "data-settings" in str(c["props"].get("value"))]
    facts = json.loads(html.unescape(re.search('data-settings="([^"]*)"', told)[1]))
    assert [fact["name"] for fact in facts] == [info.name for info in catalogue()]
    assert {fact["name"] for fact in facts if fact["basic"]} == set(form.BASIC)
    assert next(fact for fact in facts if fact["name"] == "lr")["above"] is True


def test_no_event_waits_for_a_job_or_goes_through_gradios_queue(jobs):
    import inspect

    blocks = layout.build(jobs)
    config = blocks.get_config_file()
    assert len(config["dependencies"]) >= 11
    assert all(event["queue"] is False for event in config["dependencies"])
    functions = blocks.fns.values() if isinstance(blocks.fns, dict) else blocks.fns
    assert not any(inspect.isgeneratorfunction(function.fn) for function in functions)


def test_settings_survive_the_form():
    settings = catalogue()
    asked = make_settings({"method": "freedrag", "steps": 12, "lr": 0.05, "shared_attention": False, "seed": 0})
    shown = tuple(form.shown_value(info, as_dict(asked)[info.name]) for info in settings)
    assert make_settings(form.form_values(settings, shown)) == asked
    assert make_settings(form.form_values(settings, tuple("" for _ in settings))) == make_settings()
    with pytest.raises(InputError, match="'steps'"):
        make_settings(form.form_values(settings, tuple("x" if info.name == "steps" else "" for info in settings)))


def test_the_options_default_settings_fill_the_form(jobs, host):
    host.options["default_settings"] = "method=dragnoise, steps=7"
    page = layout.build(jobs).get_config_file()
    shown = {c["props"].get("elem_id"): c["props"].get("value") for c in page["components"]}
    assert shown["dragtext_setting_method"] == "dragnoise"
    assert shown["dragtext_setting_steps"] == "7"
    host.options["default_settings"] = "method=nonsense"
    layout.build(jobs)  # a wrong option is left aside, not the page


def test_drags_as_lines_of_an_infotext():
    both = make_drags([((120, 80), (180, 80)), ((5, 6.5), (7, 8))])
    assert points.parse_points("\n".join(points.line_of(one) for one in both)) == both
    assert points.parse_points("(1.5, 2) to [30 40]\n\n") == make_drags([((1.5, 2), (30, 40))])
    with pytest.raises(InputError, match="no target"):
        points.parse_points("120,80 -> 180,80\n5,6")
    with pytest.raises(InputError, match="not of the form"):
        points.parse_points("1,2,3")
    with pytest.raises(InputError, match="the most is 100"):
        points.parse_points("1,2 -> 3,4\n" * 101)


def test_drag_then_collect(jobs, host):
    host.hold.clear()
    job = drag(jobs)
    assert words.words(jobs, job).startswith("Waiting")
    assert (job.owner, job.request.prompt, job.request.drags) == (PAGE, "a cat", make_drags(DRAGS))
    assert (job.request.mask, job.request.region) == (None, None)
    assert actions.collect(jobs, PAGE, job.id) == (KEEP, KEEP)
    host.hold.set()
    finished(job)
    image, infotext = actions.collect(jobs, PAGE, job.id)
    assert image is job.image
    assert infotext == job.infotext
    assert actions.collect(jobs, OTHER, job.id) == (KEEP, KEEP)
    assert actions.collect(jobs, PAGE, "gone") == (KEEP, KEEP)


def test_what_is_painted_goes_along(jobs, host):
    host.hold.clear()
    job = drag(jobs, mask=area(jobs), region=area(jobs))
    expected = np.zeros((64, 80), bool)
    expected[20:40, 10:60] = True
    (region,) = job.request.region
    for painted in (job.request.mask, region):
        assert np.array_equal(load_mask(Image.open(io.BytesIO(from_uri(painted))), (64, 80)), expected)
    host.hold.set()
    assert finished(job).state == "done"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"page": ""}, "script is not there"),
        ({"problem": "The server does not answer."}, "does not answer"),
        ({"document": ""}, "no picture yet"),
        ({"document": "{"}, "reload the page"),
        ({"document": "[]"}, "no picture yet|reload the page"),
        ({"document": '{"picture": 3}'}, "reload the page"),
        ({"document": '{"picture": "x", "drags": 3}'}, "reload the page"),
        ({"document": '{"picture": "unknown"}'}, "upload it again"),
        ({"mask": "unknown"}, "upload it again"),
        ({"region": "unknown"}, "upload it again"),
        ({"drags": []}, "no drags"),
        ({"drags": [[[1, 2]]]}, "pair"),
        ({"drags": [[[1, 2], [1000, 2]]]}, "outside|lies"),
        ({"prompt": "x" * 10_001}, "the most is 10000"),
        ({"values": tuple("x" for _ in catalogue())}, "Setting|Unknown"),
    ],
)
def test_what_drag_refuses_is_one_line(jobs, change, expected):
    canvas = {name: change.pop(name) for name in ("mask", "region", "drags") if name in change}
    given = {"page": PAGE, "problem": "", "document": document(jobs, **canvas), "prompt": "a cat", "values": ()}
    job_id, status = actions.submit(jobs, **{**given, **change})
    assert (job_id, status.bad) == ("", True)
    assert re.search(expected, status.text), status.text
    assert len(status.text) < 420
    assert jobs.all() == []


def test_a_region_of_another_size_is_refused(jobs):
    other = jobs.pictures.add(png_of(np.full((64, 90), 255, np.uint8))).id
    job_id, status = actions.submit(jobs, PAGE, "", document(jobs, region=other), "", ())
    assert (job_id, status.bad) == ("", True)
    assert "90" in status.text


def test_interrupt_stops_this_pages_edit_only(jobs, host):
    host.hold.clear()
    job = drag(jobs)
    assert actions.interrupt(jobs, OTHER, job.id).text == "Nothing of this page is running."
    assert actions.interrupt(jobs, "", job.id).text == "Nothing of this page is running."
    assert not job.stop
    assert actions.interrupt(jobs, PAGE, "").text.startswith("Stopping")  # a page that has forgotten its job's id
    assert finished(job).state == "interrupted"
    assert actions.interrupt(jobs, PAGE, job.id).text == "Nothing of this page is running."


def test_settings_are_filled_in(jobs):
    prompt, *shown, status = actions.fill(
        "", json.dumps({"settings": {"method": "warp", "steps": 3}, "prompt": "a dog"})
    )
    assert (prompt, status) == ("a dog", KEEP)
    assert make_settings(form.form_values(catalogue(), tuple(shown))) == make_settings({"method": "warp", "steps": 3})
    prompt, *shown, _ = actions.fill("", '{"settings": {}}')
    assert prompt is KEEP
    assert shown[0] == form.BY_MODEL  # what nobody chose stays open
    assert form.form_values(catalogue(), tuple(shown)) == {}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("the script says no", ""), "the script says no"),
        (("", ""), "cannot be read"),
        (("", "[]"), "cannot be read"),
        (("", '{"settings": 3}'), "cannot be read"),
        (("", '{"settings": {"nonsense": 3}}'), "Unknown setting"),
        (("", '{"settings": {"steps": -1}}'), "'steps'"),
    ],
)
def test_settings_that_cannot_be_filled_in_leave_the_form(given, expected):
    *kept, status = actions.fill(*given)
    assert len(kept) == 1 + len(catalogue())
    assert all(value is KEEP for value in kept)
    assert status.bad
    assert expected in status.text


@pytest.fixture
def masked(jobs):
    return finished(drag(jobs, mask=area(jobs), steps=2))


def check_taken(taken, mask: bool, v: float = 1) -> None:
    told, prompt, *shown, status = taken
    assert not status.bad, status.text
    told = json.loads(told)
    assert (prompt, told["v"]) == ("a cat", [v, v])
    assert make_drags(told["request"]["drags"]) == make_drags(DRAGS)
    assert make_settings(form.form_values(catalogue(), tuple(shown))).steps == 2
    assert bool(told["request"]["mask"]) is mask


def test_use_takes_an_infotext_with_the_mask_that_the_server_knows(jobs, masked):
    check_taken(actions.take(jobs, PAGE, "", masked.infotext), mask=True)
    # Another page, or a server that has forgotten, has the text alone.
    foreign = actions.take(jobs, OTHER, "", masked.infotext)
    check_taken(foreign, mask=False)
    assert "drop the PNG" in foreign[-1].text
    shown = finished(jobs.submit_render(masked, 0.5))
    check_taken(actions.take(jobs, PAGE, "", shown.infotext), mask=True, v=0.5)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((PAGE, "", ""), "Paste the infotext"),
        ((PAGE, "", "a cat"), "no DragText request"),
        ((PAGE, "no answer", "a cat"), "no answer"),
        (("", "", "a cat"), "script is not there"),
    ],
)
def test_what_use_refuses(jobs, given, expected):
    *kept, status = actions.take(jobs, *given)
    assert all(value is KEEP for value in kept)
    assert len(kept) == 2 + len(catalogue())
    assert status.bad
    assert expected in status.text


def test_the_cache_is_emptied(jobs):
    finished(drag(jobs, lora_steps=2))
    assert jobs._editing._editors
    assert "deleted" in actions.empty_cache(jobs).text
    assert not jobs._editing._editors


def test_values_that_are_kept_are_updates_for_gradio(jobs):
    run = layout._for_gradio(lambda: (KEEP, "text", actions.Status("<i>", bad=True)))
    kept, text, line = run()
    assert kept["__type__"].endswith("update")
    assert text == "text"
    assert "&lt;i&gt;" in line
    assert "dragtext_bad" in line
