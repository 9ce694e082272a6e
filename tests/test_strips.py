"""Strips in the queue: the same as single renders, and every other job goes first."""

from __future__ import annotations

import threading

from dragtext.extension.pictures import jpeg_of

from .jobs import WAIT, finished, picture, request

POINTS = ((0.0, 0.0), (1.0, 1.0), (2.0, 0.5))


def test_a_strip_is_what_single_renders_are(jobs):
    edit = finished(jobs.submit(picture(), request(lora_steps=0)))
    strip = finished(jobs.submit_strip(edit, POINTS))
    assert (strip.state, len(strip.frames)) == ("done", 3)
    for point, frame in zip(POINTS, strip.frames):
        render = finished(jobs.submit_render(edit, *point))
        assert frame == jpeg_of(render.image)


def test_a_strip_gives_way_and_goes_on(jobs, host):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    began, go_on = threading.Event(), threading.Event()

    def wait_in_the_second(_notice):
        if host.events.count("begin") == 3 and not began.is_set():
            began.set()
            assert go_on.wait(WAIT)

    host.on_show = wait_in_the_second
    strip = jobs.submit_strip(edit, POINTS)
    assert began.wait(WAIT)
    assert (strip.state, len(strip.frames)) == ("running", 1)
    other = jobs.submit(picture(1), request(lora_steps=0, steps=1))
    behind = jobs.submit_render(edit, 0.3)
    assert jobs.position(other) == 0
    go_on.set()
    assert finished(other).state == "done"
    assert len(strip.frames) == 1
    assert finished(behind).state == "done"
    assert len(strip.frames) == 1
    assert (finished(strip).state, len(strip.frames)) == ("done", 3)


def test_a_quick_edit_goes_between_two_frames(jobs, host):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    quick, frames = [], []

    def ask(notice):
        if not quick:
            quick.append(jobs.submit(picture(1), request(), quick=True))
        if "inverting" in notice.text:
            frames.append(len(strip.frames))

    host.hold.clear()
    host.on_show = ask
    strip = jobs.submit_strip(edit, POINTS)
    host.hold.set()
    assert finished(strip).state == "done"
    assert finished(quick[0]).state == "done"
    assert set(frames) == {1}


def test_a_strip_that_is_stopped_keeps_its_frames(jobs, host):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    strip = None

    def stop_in_the_second(_notice):
        if strip is not None and strip.frames:
            jobs.interrupt(strip)

    host.on_show = stop_in_the_second
    strip = jobs.submit_strip(edit, POINTS)
    assert (finished(strip).state, len(strip.frames)) == ("interrupted", 1)
    host.hold.clear()
    first = jobs.submit(picture(), request())
    waiting = jobs.submit_strip(edit, POINTS)
    jobs.interrupt(waiting)
    assert (waiting.state, waiting.ended.is_set()) == ("interrupted", True)
    jobs.interrupt(first)


def test_a_strip_ends_with_the_queue_and_goes_with_its_edit(jobs, host):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    done = finished(jobs.submit_strip(edit, POINTS))
    assert done.result_bytes == sum(map(len, done.frames)) > 1000
    jobs.forget(edit)
    assert jobs.all() == []
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    host.on_show = lambda _notice: jobs.close()
    assert finished(jobs.submit_strip(edit, POINTS)).state == "interrupted"


def test_the_hosts_own_interrupt_ends_a_strip(jobs, host):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    host.stop = True
    assert finished(jobs.submit_strip(edit, POINTS)).state == "interrupted"


def test_strips_count_in_the_budget(jobs, monkeypatch):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    monkeypatch.setattr("dragtext.extension.keeping.number", lambda _host, name: 10 if name == "results_kept" else 0.0)
    finished(jobs.submit_strip(edit, POINTS))
    assert jobs.all() == [edit]


def test_few_shots_of_a_long_edit_are_kept(jobs):
    job = finished(jobs.submit(picture(), request(lora_steps=0)))
    assert len(job.shots) >= 3
    for _ in range(500):
        job.keep_preview(job.preview, job.shots[-1][1])
    assert len(job.shots) <= 48
    assert len(job.curve) >= 3


def test_a_strip_that_is_stopped_between_two_frames_is_not_done(jobs, host, monkeypatch):
    edit = finished(jobs.submit(picture(), request(lora_steps=0, steps=1)))
    attempt = jobs._editing.attempt

    def stop_after(job):
        error = attempt(job)
        job.stop = True
        return error

    monkeypatch.setattr(jobs._editing, "attempt", stop_after)
    strip = finished(jobs.submit_strip(edit, POINTS))
    assert (strip.state, len(strip.frames), str(strip.error)) == (
        "interrupted",
        1,
        "Stopped before all of it was rendered.",
    )
