"""Quick edits in the queue: who goes first, who replaces whom, and what is not kept."""

from __future__ import annotations

import threading

import pytest
from dragtext.extension.queue import (
    MAX_WAITING,
    QueueFullError,
    UnknownJobError,
)

from .jobs import WAIT, finished, picture, request


def test_a_quick_edit_is_a_warped_start_and_nothing_that_is_kept(jobs, host):
    job = finished(jobs.submit(picture(), request(text=True), quick=True, owner="me"))
    assert (job.state, job.result.settings.method, job.result.steps) == ("done", "warp", 0)
    assert job.request.settings.lora_steps == 0
    assert host.saved == []
    assert jobs.history("me") == []
    assert jobs.all("me") == [job]


def test_a_newer_quick_edit_of_a_page_replaces_the_older(jobs, host):
    host.hold.clear()
    old, foreign, new = (jobs.submit(picture(), request(), quick=True, owner=owner) for owner in "aba")
    assert (old.state, str(old.error)) == ("interrupted", "Another drag came after it.")
    assert (old.picture, old.request.mask) == (None, None)
    host.hold.set()
    assert (finished(foreign).state, finished(new).state) == ("done", "done")


def test_a_drag_goes_before_quick_edits_and_ends_one_that_runs(jobs, host):
    began, go_on = threading.Event(), threading.Event()

    def wait_in_the_first(_notice):
        if not began.is_set():
            began.set()
            assert go_on.wait(WAIT)

    host.on_show = wait_in_the_first
    quick = jobs.submit(picture(), request(), quick=True, owner="a")
    assert began.wait(WAIT)
    waiting = jobs.submit(picture(1), request(), quick=True, owner="b")
    asked = jobs.submit(picture(), request(steps=1, lora_steps=0), owner="c")
    assert [jobs.position(job) for job in (asked, waiting)] == [0, 2]
    go_on.set()
    order = []
    for job in (quick, asked, waiting):
        finished(job)
        order.append(job.state)
    assert order == ["interrupted", "done", "done"]
    assert host.events.count("end") == 3
    # It broke off where it was, without drawing what there was.
    assert quick.image is None
    assert quick.result is None


def test_a_drag_ends_the_quick_edits_of_its_own_page(jobs, host):
    host.hold.clear()
    quick = jobs.submit(picture(), request(), quick=True, owner="a")
    jobs.submit(picture(), request(), owner="a")
    assert quick.state == "interrupted"


def test_quick_edits_take_no_place_from_drags(jobs, host):
    host.hold.clear()
    for number in range(MAX_WAITING + 2):
        try:
            jobs.submit(picture(), request(), quick=True, owner=f"page{number}")
        except QueueFullError:
            break
    else:
        pytest.fail("any number of quick edits may wait")
    assert jobs.submit(picture(), request()).state == "queued"
    for job in jobs.all():
        jobs.interrupt(job)


def test_few_quick_edits_are_remembered(jobs):
    made = [finished(jobs.submit(picture(), request(), quick=True, owner="a")) for _ in range(6)]
    assert jobs.all() == made[-4:]


def test_a_page_without_a_name_owns_nothing(jobs, host):
    host.hold.clear()
    job = jobs.submit(picture(), request())
    assert jobs.all("") == []
    with pytest.raises(UnknownJobError):
        jobs.get(job.id, "")
    with pytest.raises(UnknownJobError, match="of this page"):
        jobs.get(job.id, "somebody")
    assert jobs.get(job.id) is job
