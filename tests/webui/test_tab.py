"""The plain tab's own logic, under whichever gradio is installed."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.sdk.errors import InputError
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import as_dict, catalogue, make_settings

from ..test_jobs import picture, request

pytest.importorskip("gradio", reason="gradio is not installed; see constraints-gradio3.txt and constraints-gradio4.txt")

from dragtext.extension import form, points
from dragtext.extension import layout as tab


def test_every_setting_has_a_component(jobs):
    page = tab.build(jobs).get_config_file()
    names = {component["props"].get("elem_id") for component in page["components"]}
    assert {f"dragtext_setting_{info.name}" for info in catalogue()} <= names
    labels = [c["props"].get("label") for c in page["components"] if c["props"].get("label")]
    assert len(labels) == len(set(labels))  # A1111 keeps defaults under the label


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
    page = tab.build(jobs).get_config_file()
    values = {c["props"].get("elem_id"): c["props"].get("value") for c in page["components"]}
    assert values["dragtext_setting_method"] == "dragnoise"
    assert values["dragtext_setting_steps"] == "7"
    host.options["default_settings"] = "method=nonsense"
    tab.build(jobs)  # a wrong option is left aside, not the page


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


def test_following_a_job_to_its_end(jobs, host):
    host.hold.clear()
    job = jobs.submit(picture(), request(steps=4))
    following = tab._follow(jobs, job)
    assert "Waiting" in next(following)[0]
    host.hold.set()
    *_, (status, _shown, result, infotext, identifier) = following
    assert identifier == job.id
    assert "All steps were used" in status
    assert "Saved as saved.png" in status
    assert result is job.result.image
    assert infotext == job.infotext


def test_a_failed_job_says_why(jobs, host):
    def fail(_notice):
        raise RuntimeError("<b>odd</b>")

    host.on_show = fail
    job = jobs.submit(picture(), request())
    *_, (status, _shown, result, _infotext, _id) = tab._follow(jobs, job)
    assert "&lt;b&gt;odd" in status
    assert "error" in status
    assert result != job.result or job.result is None


def test_the_drawn_state_shows_where_the_handles_are(jobs, host):
    job = jobs.submit(picture(), Request(make_drags([((20, 30), (50, 30))]), "", None, request().settings))
    assert job.ended.wait(120)
    job.preview, job.points = None, ((40.0, 50.0),)
    drawn = np.array(tab._drawn(picture(), 1.0, job)).astype(int)
    assert (drawn[50, 40] - [230, 40, 60]).tolist() == [0, 0, 0]
    assert (drawn[30, 50] - [40, 90, 230]).tolist() == [0, 0, 0]
