"""Edits as jobs: states, interruption, what is kept and what is given back."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from dragtext.extension.infotext import read_infotext
from dragtext.extension.queue import (
    MAX_WAITING,
    ClosedError,
    DuplicateJobError,
    NotFinishedError,
    QueueFullError,
    UnknownJobError,
)
from dragtext.sdk.errors import InputError, InterruptedEditError, ModelError, NotEnoughMemoryError
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

QUICK = {
    "steps": 3,
    "inference_steps": 8,
    "lora_steps": 2,
    "lora_batch": 1,
    "drag_levels": 2,
    "method": "dragdiffusion",
}
WAIT = 120


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (64, 80, 3), dtype=np.uint8))


def request(**settings) -> Request:
    drags = make_drags([((20, 30), (50, 30))])
    return Request(drags, "a cat, red: big", None, make_settings({**QUICK, **settings}))


def finished(job):
    assert job.ended.wait(WAIT), job.state
    return job


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


def test_the_infotext_holds_the_whole_request(jobs):
    mask = np.zeros((64, 80), np.uint8)
    mask[20:40, 10:60] = 255
    job = finished(jobs.submit(picture(), request(), mask))
    again = read_infotext(job.infotext)
    assert again == job.result.request
    assert again.mask.startswith("data:image/png")
    assert len(job.infotext.splitlines()) == 2
    assert job.infotext.startswith("a cat, red: big\nSteps: 8, ")


def test_an_infotext_without_a_request_is_refused():
    with pytest.raises(InputError, match="no DragText request"):
        read_infotext("a cat\nSteps: 20, Sampler: Euler a, Seed: 1")
    with pytest.raises(InputError, match="damaged"):
        read_infotext('a cat\nDragText request: "{')


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
    assert all(waiting is not second for waiting, _ in jobs._tasks)  # it takes no place, and its picture is freed
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
        (ValueError("something\nodd"), Exception),
    ],
)
def test_failures_become_one_sentence(jobs, host, raised, expected):
    def break_down(_notice):
        raise raised

    host.on_show = break_down
    job = finished(jobs.submit(picture(), request()))
    assert job.state == "failed"
    assert isinstance(job.error, expected)
    # The frames would keep the model and the graph.
    assert job.error.__traceback__ is job.error.__cause__ is job.error.__context__ is None
    assert "\n" not in str(job.error)
    host.on_show = lambda _notice: None
    assert finished(jobs.submit(picture(), request())).state == "done"


def test_a_result_that_cannot_be_saved_is_not_lost(jobs, host, monkeypatch):
    def full(*_arguments):
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
        jobs.submit(picture(), request(), np.ones((10, 10)))
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
    whole = np.array(jobs.render(job, 1.0)).astype(int)
    # The picture went through one more rounding of threads and batches, never through another optimisation.
    assert np.abs(whole - np.array(job.result.image)).max() <= 1
    assert np.abs(np.array(jobs.render(job, 0.0)).astype(int) - whole).max() > 0
    job.fingerprint = "another model"
    with pytest.raises(InputError, match="select that checkpoint"):
        jobs.render(job, 1.0)


def test_a_render_that_waits_ends_with_the_queue(jobs, host):
    job = finished(jobs.submit(picture(), request()))
    host.hold.clear()
    jobs.submit(picture(), request())
    threading.Timer(0.3, jobs.close).start()
    with pytest.raises(ClosedError):
        jobs.render(job, 0.5)


def test_an_unfinished_edit_cannot_be_rendered(jobs, host):
    host.hold.clear()
    job = jobs.submit(picture(), request())
    with pytest.raises(NotFinishedError):
        jobs.render(job, 1.0)
    jobs.interrupt(job)
    with pytest.raises(NotFinishedError, match="Stopped while it waited"):
        jobs.render(job, 1.0)


def test_closing_stops_what_runs_and_refuses_more(jobs, host):
    host.hold.clear()
    running, waiting = jobs.submit(picture(), request(steps=500)), jobs.submit(picture(), request())
    host.hold.set()
    jobs.close()
    assert finished(waiting).state == "interrupted"
    assert finished(running).state in ("interrupted", "done")
    with pytest.raises(ClosedError):
        jobs.submit(picture(), request())
