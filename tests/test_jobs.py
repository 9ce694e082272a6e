"""Edits as jobs: states, interruption, what is kept and what is given back."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from dragtext.extension.queue import (
    MAX_WAITING,
    ClosedError,
    DuplicateJobError,
    NotFinishedError,
    QueueFullError,
    UnknownJobError,
)
from dragtext.sdk.errors import DragTextError, InputError, InterruptedEditError, ModelError, NotEnoughMemoryError
from dragtext.sdk.picture.masks import mask_to_uri
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from .jobs import QUICK, WAIT, finished, picture, request


def test_an_edit_runs_in_its_turn_and_gives_the_model_back(jobs, host):
    job = finished(jobs.submit(picture(), request()))
    assert (job.state, job.error) == ("done", None)
    assert host.events == ["begin", "lend a cat, red: big", "returned", "end"]
    assert job.result.image.size == (80, 64)
    # Nothing that is kept may hold the model: hosts count references to decide what to unload.
    assert job.result.rendering.model is None
    assert all(editor._model is None for editor in jobs._editing._editors.values())
    assert job.saved.name == "saved.png"
    assert [notice.done for notice in host.notices if "dragging" in notice.text] == [1, 2, 3, 3]
    assert job.version >= 3
    assert job.preview.size == (80, 64)
    assert len(job.points) == 1


def test_the_second_drag_on_a_picture_pays_neither_lora_nor_inversion(jobs, host):
    finished(jobs.submit(picture(), request()))
    host.notices.clear()
    again = finished(jobs.submit(picture(), request()))
    phases = {notice.text.split()[1] for notice in host.notices}
    assert again.state == "done"
    assert phases == {"dragging", "rendering"}
    host.notices.clear()
    finished(jobs.submit(picture(1), request()))
    assert "inverting" in {notice.text.split()[1] for notice in host.notices}


def test_interrupting_a_running_edit_keeps_the_best_so_far(jobs, host):
    def stop_at_the_second_step(notice):
        if "dragging 2" in notice.text:
            jobs.interrupt(job)

    host.hold.clear()
    host.on_show = stop_at_the_second_step
    job = jobs.submit(picture(), request(steps=50))
    host.hold.set()
    finished(job)
    assert (job.state, job.result.stopped, job.result.steps) == ("done", "interrupted", 2)


def test_the_hosts_own_interrupt_counts(jobs, host):
    host.stop = True
    job = finished(jobs.submit(picture(), request()))
    assert job.state == "interrupted"
    assert isinstance(job.error, InterruptedEditError)
    assert job.result is None


def test_interrupting_a_waiting_edit_ends_it_at_once(jobs, host):
    host.hold.clear()
    first = jobs.submit(picture(), request())
    second = jobs.submit(picture(), request())
    assert jobs.position(second) == 1
    jobs.interrupt(second)
    assert second.ended.wait(1)
    assert second.state == "interrupted"
    assert second not in jobs._waiting  # it takes no place
    assert second.picture is second.request.mask is None  # and holds no memory
    host.hold.set()
    assert finished(first).state == "done"
    assert host.events.count("begin") == 1


def test_a_model_that_goes_away_ends_the_edit_with_its_reason(jobs, host):
    def take_away(notice):
        if "dragging 1" in notice.text:
            host.gone = ModelError("The checkpoint was changed.")

    host.on_show = take_away
    job = finished(jobs.submit(picture(), request()))
    assert (job.state, str(job.error)) == ("failed", "The checkpoint was changed.")
    assert host.events[-2:] == ["returned", "end"]


def test_what_breaks_because_the_model_went_away_says_so(jobs, host):
    def unload(_notice):
        host.gone = ModelError("The checkpoint was unloaded.")
        raise RuntimeError("Expected all tensors to be on the same device")

    host.on_show = unload
    job = finished(jobs.submit(picture(), request()))
    assert (job.state, str(job.error)) == ("failed", "The checkpoint was unloaded.")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate"), NotEnoughMemoryError),
        (ValueError("something\nodd " + "x" * 5000), DragTextError),
    ],
)
def test_failures_become_one_sentence(jobs, host, raised, expected):
    def break_down(_notice):
        raise raised

    host.on_show = break_down
    job = finished(jobs.submit(picture(), request()))
    assert job.state == "failed"
    assert type(job.error) is expected
    assert len(str(job.error)) < 500
    # The frames would keep the model and the graph.
    assert job.error.__traceback__ is job.error.__cause__ is job.error.__context__ is None
    assert "\n" not in str(job.error)
    host.on_show = lambda _notice: None
    assert finished(jobs.submit(picture(), request())).state == "done"


def test_a_result_that_cannot_be_saved_is_not_lost(jobs, host, monkeypatch):
    def full(*_arguments, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(host, "save", full)
    job = finished(jobs.submit(picture(), request()))
    assert job.state == "done"
    assert job.result is not None
    assert "No space left" in job.note


def test_old_results_are_forgotten(jobs, host):
    host.options["results_kept"] = 2
    made = [finished(jobs.submit(picture(), request(steps=1, lora_steps=0))) for _ in range(3)]
    with pytest.raises(UnknownJobError):
        jobs.get(made[0].id)
    assert [job.id for job in jobs.all()] == [job.id for job in made[1:]]


def test_what_cannot_be_queued(jobs, host):
    with pytest.raises(InputError, match="no drags"):
        jobs.submit(picture(), Request(()))
    with pytest.raises(InputError, match="outside the image"):
        jobs.submit(picture(), Request(make_drags([((20, 30), (500, 30))])))
    with pytest.raises(InputError, match="same size"):
        jobs.submit(picture(), replace(request(), mask=mask_to_uri(np.ones((10, 10), bool))))
    host.hold.clear()
    jobs.submit(picture(), request(), identifier="mine")
    with pytest.raises(DuplicateJobError):
        jobs.submit(picture(), request(), identifier="mine")
    for _ in range(MAX_WAITING):
        jobs.submit(picture(), request())
    with pytest.raises(QueueFullError):
        jobs.submit(picture(), request())
    for job in jobs.all():
        jobs.interrupt(job)


def test_rendering_at_another_point(jobs, host):
    job = finished(jobs.submit(picture(), request()))
    host.saved.clear()
    whole, half, none = (finished(jobs.submit_render(job, v, save=v == 0.5)) for v in (1.0, 0.5, 0.0))
    # The picture went through one more rounding of threads and batches, never through another optimisation.
    assert np.abs(np.array(whole.image).astype(int) - np.array(job.result.image)).max() <= 1
    assert np.abs(np.array(none.image).astype(int) - np.array(whole.image)).max() > 0
    # What is saved says which point it shows, in the text and beside the request.
    ((infotext, records, png),) = host.saved
    assert "DragText v: 0.5" in infotext
    request_as_json = job.result.request.to_json()
    assert records == {"dragtext": request_as_json, "dragtext_original": job.picture.id, "dragtext_v": "0.5/0.5"}
    assert not png
    assert half.image.info["parameters"] == infotext
    assert finished(jobs.submit_render(half, 0.25)).edit is job  # a point of a point is one of the edit
    job.fingerprint = "another model"
    other = finished(jobs.submit_render(job, 1.0))
    assert (other.state, other.image) == ("failed", None)
    assert "select that checkpoint" in str(other.error)


def test_a_render_that_waits_ends_with_the_queue(jobs, host):
    job = finished(jobs.submit(picture(), request()))
    host.hold.clear()
    jobs.submit(picture(), request())
    render = jobs.submit_render(job, 0.5)
    threading.Timer(0.3, jobs.close).start()
    assert finished(render).state == "interrupted"
    with pytest.raises(ClosedError):
        jobs.submit_render(job, 0.5)


def test_a_render_can_be_stopped(jobs, host):
    job = finished(jobs.submit(picture(), request()))
    host.on_show = lambda notice: jobs.interrupt(jobs.all()[-1])
    render = finished(jobs.submit_render(job, 0.5))
    assert (render.state, render.image) == ("interrupted", None)


def test_an_unfinished_edit_cannot_be_rendered(jobs, host):
    host.hold.clear()
    job = jobs.submit(picture(), request())
    with pytest.raises(NotFinishedError):
        jobs.submit_render(job, 1.0)
    jobs.interrupt(job)
    with pytest.raises(NotFinishedError, match="Stopped while it waited"):
        jobs.submit_render(job, 1.0)


def test_closing_stops_what_runs_and_refuses_more(jobs, host):
    began = threading.Event()

    def note(notice):
        if "dragging 1" in notice.text:
            began.set()

    host.on_show = note
    running, waiting = jobs.submit(picture(), request(steps=500)), jobs.submit(picture(), request())
    assert began.wait(WAIT)
    assert jobs.close(WAIT)
    assert (finished(waiting).state, waiting.picture) == ("interrupted", None)
    assert (finished(running).state, running.result.stopped) == ("done", "interrupted")
    assert running.result.steps < 500
    assert not jobs._worker.is_alive()
    with pytest.raises(ClosedError):
        jobs.submit(picture(), request())


@pytest.mark.parametrize(
    ("name", "value"), [("preview_every", "often"), ("results_kept", None), ("results_limit_mb", float("nan"))]
)
def test_an_option_that_is_no_number_harms_nothing(jobs, host, name, value):
    host.options[name] = value
    assert finished(jobs.submit(picture(), request(lora_steps=0))).state == "done"
    assert finished(jobs.submit(picture(), request(lora_steps=0))).state == "done"
    assert jobs._worker.is_alive()


def test_the_worker_survives_what_nobody_expected(jobs, monkeypatch):
    def broken():
        raise RuntimeError("odd")

    monkeypatch.setattr(jobs, "_drop_old", broken)
    job = finished(jobs.submit(picture(), request(lora_steps=0)))
    monkeypatch.undo()
    assert finished(jobs.submit(picture(), request(lora_steps=0))).state == "done"
    assert job.state == "failed"


def test_only_files_wait_and_nothing_stays_without_a_result(jobs, host):
    host.hold.clear()
    large = Image.new("RGB", (2000, 2000))  # 12 MB of pixels in a file of some kB
    mask = mask_to_uri(np.ones((2000, 2000), bool))
    asked = Request(make_drags([((200, 300), (1500, 300))]), "a cat", mask, make_settings(QUICK), mask)
    made = [jobs.submit(large, asked) for _ in range(3)]
    assert sum(job.waiting_bytes for job in made) < 2**20
    for job in made[1:]:
        jobs.interrupt(job)
        assert (job.picture, job.request.mask, job.request.region, job.preview, job.image) == (None,) * 5
    host.on_show = lambda _notice: jobs.interrupt(made[0])
    host.hold.set()
    finished(made[0])
    assert (made[0].state, made[0].picture) == ("interrupted", None)
    assert not jobs._editing._editors


def test_edits_without_a_result_push_no_result_out(jobs, host):
    host.options["results_kept"] = 1
    kept = finished(jobs.submit(picture(), request(steps=1, lora_steps=0)))
    host.hold.clear()
    for _ in range(5):
        jobs.interrupt(jobs.submit(picture(), request()))
    host.hold.set()
    assert jobs.get(kept.id) is kept
    newer = finished(jobs.submit(picture(), request(steps=1, lora_steps=0)))
    assert [job.id for job in jobs.all() if job.image is not None] == [newer.id]


def test_results_stay_within_a_budget_of_memory(jobs, host, monkeypatch):
    monkeypatch.setattr("dragtext.extension.keeping.number", lambda _host, name: 10 if name == "results_kept" else 0.0)
    made = [finished(jobs.submit(picture(), request(steps=1, lora_steps=0))) for _ in range(2)]
    assert made[1].result_bytes > 3 * 64 * 80 * 2
    assert [job.id for job in jobs.all()] == [made[1].id]  # the newest stays, whatever it takes


def test_what_was_rendered_goes_with_its_edit(jobs, host):
    host.options["results_kept"] = 1
    first = finished(jobs.submit(picture(), request(steps=1, lora_steps=0)))
    finished(jobs.submit_render(first, 0.5))
    second = finished(jobs.submit(picture(), request(steps=1, lora_steps=0)))
    assert jobs.all() == [second]
    jobs.forget(second)
    assert jobs.all() == []


def test_a_full_queue_counts_bytes_too(jobs, host, monkeypatch):
    monkeypatch.setattr("dragtext.extension.queue.MAX_WAITING_BYTES", 10_000)
    host.hold.clear()
    for _ in range(2):
        jobs.submit(picture(), request())
        while not host.events:  # the worker has taken the first up, which waits no more
            time.sleep(0.01)
    with pytest.raises(QueueFullError, match="memory"):
        jobs.submit(picture(), request())
    for job in jobs.all():
        jobs.interrupt(job)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Request(make_drags([((k, 30), (50, 30)) for k in range(49)] * 3)), "147 drags; the most is 100"),
        (Request(make_drags([((20, 30), (50, 30))]), "x" * 10_001), "10001 characters"),
        (Request(make_drags([((20, 30), (50, 30))]), "half \ud83d"), "lone surrogate"),
    ],
)
def test_what_is_too_much_or_no_text(jobs, asked, words):
    with pytest.raises(InputError, match=words):
        jobs.submit(picture(), asked)


def test_an_edit_that_was_a_start_says_so_and_a_region_is_no_path(jobs):
    from dragtext.extension.words import words

    region = np.zeros((64, 80), bool)
    region[20:40, 10:30] = True
    asked = replace(request(method="warp"), region=mask_to_uri(region))
    job = finished(jobs.submit(picture(), asked))
    assert (job.state, job.result.region) == ("done", "given")
    assert words(jobs, job).startswith("Moved to where the handles should be")
    with pytest.raises(InputError, match="base64"):
        jobs.submit(picture(), replace(asked, region="/etc/passwd"))
    with pytest.raises(InputError, match="same size"):
        jobs.submit(picture(), replace(asked, region=(mask_to_uri(np.ones((9, 9), bool)),)))
