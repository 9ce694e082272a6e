"""The tab's components and each button's action, under whichever gradio is installed."""

from __future__ import annotations

import io

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.picture.masks import load_mask
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import as_dict, catalogue, make_settings
from PIL import Image

from ..test_jobs import QUICK, finished, picture, request

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")

from dragtext.extension import actions, form, layout, points, words
from dragtext.extension.actions import KEEP
from dragtext.extension.editing import records_of
from dragtext.extension.job import EditJob
from dragtext.extension.pictures import png_file, png_of

PAGE, OTHER = "a" * 32, "b" * 32
LINE = "20,30 -> 50,30"


def values(**more) -> tuple:
    asked = as_dict(make_settings({**QUICK, "lora_steps": 0, **more}))
    return tuple(form.shown_value(info, asked[info.name]) for info in catalogue())


def drag(jobs, page=PAGE, mask="", **more) -> EditJob:
    uploaded = jobs.pictures.add(png_of(picture()))
    job_id, status = actions.submit(jobs, page, "", uploaded.id, mask, "a cat", LINE, values(**more))
    assert not status.bad, status.text
    return jobs.get(job_id)


def test_every_setting_has_a_component(jobs):
    page = layout.build(jobs).get_config_file()
    names = {component["props"].get("elem_id") for component in page["components"]}
    assert {f"dragtext_setting_{info.name}" for info in catalogue()} <= names
    labels = [c["props"].get("label") for c in page["components"] if c["props"].get("label")]
    assert len(labels) == len(set(labels))  # A1111 keeps defaults under the label


def test_no_event_waits_for_a_job_or_goes_through_gradios_queue(jobs):
    import inspect

    blocks = layout.build(jobs)
    config = blocks.get_config_file()
    assert len(config["dependencies"]) >= 13
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


def test_clicks_and_text_are_the_same_points():
    text = ""
    for x, y in ((120, 80), (180, 80), (5, 6)):
        text = points.add_click(text, x, y)
    assert text == "120,80 -> 180,80\n5,6"
    with pytest.raises(InputError, match="no target yet"):
        points.parse_points(text)
    text = points.add_click(text, 7, 8)
    assert points.parse_points(text) == make_drags([((120, 80), (180, 80)), ((5, 6), (7, 8))])
    for expected in ("120,80 -> 180,80\n5,6", "120,80 -> 180,80", "120,80", "", ""):
        text = points.remove_click(text)
        assert text == expected
    assert points.parse_points("(1.5, 2) to [30 40]\n\n") == make_drags([((1.5, 2), (30, 40))])
    with pytest.raises(InputError, match="not of the form"):
        points.parse_points("1,2,3")
    with pytest.raises(InputError, match="the most is 100"):
        points.parse_points("1,2 -> 3,4\n" * 101)


def test_drag_then_collect(jobs, host):
    host.hold.clear()
    job = drag(jobs)
    assert words.words(jobs, job).startswith("Waiting")
    assert (job.owner, job.request.prompt, job.request.drags) == (PAGE, "a cat", make_drags([((20, 30), (50, 30))]))
    host.hold.set()
    finished(job)
    image, infotext, status = actions.collect(jobs, PAGE, job.id)
    assert image is job.image
    assert infotext == job.infotext
    assert status.text.startswith("All steps were used")
    assert "Saved as saved.png" in status.text
    assert not status.bad


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"page": ""}, "script is not there"),
        ({"problem": "The server does not answer."}, "does not answer"),
        ({"picture": ""}, "no picture"),
        ({"picture": "unknown"}, "upload it again"),
        ({"mask": "unknown"}, "upload it again"),
        ({"lines": ""}, "no drags"),
        ({"lines": "1,2"}, "no target yet"),
        ({"prompt": "x" * 10_001}, "the most is 10000"),
        ({"values": tuple("x" for _ in catalogue())}, "Setting|Unknown"),
    ],
)
def test_what_drag_refuses_is_one_line(jobs, change, expected):
    import re

    given = {"page": PAGE, "problem": "", "picture": "", "mask": "", "prompt": "a cat", "lines": LINE, "values": ()}
    given["picture"] = jobs.pictures.add(png_of(picture())).id
    job_id, status = actions.submit(jobs, **{**given, **change})
    assert (job_id, status.bad) == ("", True)
    assert re.search(expected, status.text)
    assert len(status.text) < 420
    assert jobs.all() == []


def test_a_failed_job_says_why(jobs, host):
    def fail(_notice):
        raise RuntimeError("<b>odd</b>")

    host.on_show = fail
    job = finished(drag(jobs))
    image, infotext, status = actions.collect(jobs, PAGE, job.id)
    assert (image, infotext, status.bad) == (KEEP, KEEP, True)
    shown = layout.status_html(status)
    assert "&lt;b&gt;odd" in shown
    assert "dragtext_bad" in shown
    assert "<b>" not in shown


def test_interrupt_stops_this_pages_edit_only(jobs, host):
    host.hold.clear()
    job = drag(jobs)
    assert actions.interrupt(jobs, OTHER, job.id).text == "Nothing of this page is running."
    assert actions.interrupt(jobs, "", job.id).text == "Nothing of this page is running."
    assert not job.stop
    assert actions.interrupt(jobs, PAGE, "").text.startswith("Stopping")  # a page that has forgotten its job's id
    assert finished(job).state == "interrupted"
    assert actions.interrupt(jobs, PAGE, job.id).text == "Nothing of this page is running."


def test_show_latest_shows_this_pages_latest(jobs, host):
    host.hold.clear()
    first, _, other = drag(jobs), drag(jobs), drag(jobs, page=OTHER)
    second = jobs.all()[1]
    assert actions.latest(jobs, PAGE)[0] == second.id != first.id
    assert actions.latest(jobs, OTHER)[0] == other.id
    assert actions.latest(jobs, "c" * 32)[0] == ""
    assert actions.collect(jobs, OTHER, first.id)[0] is KEEP
    for job in jobs.all():
        jobs.interrupt(job)


def test_render_and_drag_what_is_shown(jobs, host):
    job = finished(drag(jobs))
    host.saved.clear()
    job_id, status = actions.render(jobs, PAGE, "", job.id, 0.5)
    assert not status.bad
    shown = finished(jobs.get(job_id))
    image, infotext, status = actions.collect(jobs, PAGE, job_id)
    assert (status.text, "DragText v: 0.5" in infotext) == ("Rendered at 0.5. Saved as saved.png.", True)
    assert not np.array_equal(np.array(image), np.array(job.image))
    # What is shown is taken, not the edit at v = 1.
    onward, lines, previous, status = actions.go_on(jobs, PAGE, job_id)
    assert onward is shown.image
    assert (lines, status.text) == ("", "The result at 0.5 is the picture now.")
    assert actions.go_on(jobs, PAGE, job.id)[0] is job.image
    before, status = actions.go_back(jobs, previous)
    assert np.array_equal(np.array(before.convert("RGB")), np.array(picture()))
    for refused in (
        actions.render(jobs, PAGE, "", "", 1)[-1],
        actions.render(jobs, OTHER, "", job.id, 1)[-1],
        actions.render(jobs, PAGE, "", job.id, 1e9)[-1],
        actions.go_on(jobs, PAGE, "")[-1],
        actions.go_on(jobs, OTHER, job.id)[-1],
        actions.go_back(jobs, "gone")[-1],
    ):
        assert refused.bad


@pytest.fixture
def masked(jobs):
    area = np.zeros((64, 80), np.uint8)
    area[20:40, 10:60] = 255
    return finished(drag(jobs, mask=jobs.pictures.add(png_of(area)).id, steps=2))


def check_taken(taken, mask: bool) -> None:
    prompt, lines, area, v, *shown, status = taken
    assert not status.bad, status.text
    assert (prompt, lines, v) == ("a cat", LINE, 1)
    assert make_settings(form.form_values(catalogue(), tuple(shown))).steps == 2
    assert (area is not None) is mask
    if mask:
        expected = np.zeros((64, 80), bool)
        expected[20:40, 10:60] = True
        assert np.array_equal(load_mask(area, (64, 80)), expected)


def test_use_takes_an_infotext_with_the_mask_that_the_server_knows(jobs, masked):
    check_taken(actions.take(jobs, PAGE, "", "", masked.infotext), mask=True)
    # Another page, or a server that has forgotten, has the text alone.
    foreign = actions.take(jobs, OTHER, "", "", masked.infotext)
    check_taken(foreign, mask=False)
    assert "drop the PNG" in foreign[-1].text


def test_use_takes_a_dropped_png_with_its_mask(jobs, masked):
    file = png_file(masked.image, masked.infotext, records_of(masked))
    jobs.forget(masked)
    uploaded = jobs.pictures.add(file)
    check_taken(actions.take(jobs, PAGE, "", uploaded.id, ""), mask=True)


def test_use_takes_v_from_a_rendered_png(jobs, masked):
    shown = finished(jobs.submit_render(masked, 0.5))
    uploaded = jobs.pictures.add(png_file(shown.image, shown.infotext, records_of(shown)))
    assert actions.take(jobs, PAGE, "", uploaded.id, "")[3] == 0.5
    assert actions.take(jobs, PAGE, "", "", shown.infotext)[3] == 0.5


@pytest.mark.parametrize(
    ("uploaded", "infotext", "expected"),
    [
        (False, "", "Paste an infotext"),
        (True, "", "carries no DragText request"),
        (True, "a cat", "no DragText request"),
    ],
)
def test_what_use_refuses(jobs, uploaded, infotext, expected):
    given = jobs.pictures.add(png_of(picture())).id if uploaded else ""
    *kept, status = actions.take(jobs, PAGE, "", given, infotext)
    assert all(value is KEEP for value in kept)
    assert len(kept) == 4 + len(catalogue())
    assert status.bad
    assert expected in status.text


def test_the_cache_is_emptied(jobs):
    finished(drag(jobs, lora_steps=2))
    assert jobs._editing._editors
    assert "deleted" in actions.empty_cache(jobs).text
    assert not jobs._editing._editors


def test_the_drawn_state_shows_where_the_handles_are(jobs):
    job = finished(jobs.submit(picture(), Request(make_drags([((20, 30), (50, 30))]), "", None, request().settings)))
    job.points = ((40.0, 50.0),)
    drawn = np.array(Image.open(io.BytesIO(words.standing(job)))).astype(int)
    plain = np.array(Image.open(io.BytesIO(job.picture.thumbnail))).astype(int)
    changed = np.abs(drawn - plain).max(axis=-1) > 60
    assert np.abs(drawn[50, 40] - [230, 40, 60]).max() < 60
    assert np.abs(drawn[30, 50] - [40, 90, 230]).max() < 60
    assert not changed[:20].any()


def test_values_that_are_kept_are_updates_for_gradio(jobs):
    run = layout._for_gradio(lambda: (KEEP, "text", actions.Status("<i>")))
    kept, text, line = run()
    assert kept["__type__"].endswith("update")
    assert text == "text"
    assert "&lt;i&gt;" in line
