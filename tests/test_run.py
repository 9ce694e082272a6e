"""An edit as an iterator: looked at, stopped, left, closed, dropped."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from dragtext import sdk

FAST = {"method": "dragdiffusion", "steps": 3, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
DRAG = [((20, 20), (60, 50))]


def is_free(model):
    return not any(module._forward_hooks or module._forward_pre_hooks for module in model.unet.modules())


def test_to_the_end_it_gives_what_drag_gives(editor, model):
    phases, events = [], []
    dragged = editor.drag(DRAG, **FAST, on_progress=lambda event: phases.append((event.phase, event.done, event.total)))
    run = sdk.Editor(model, editor.picture, "a cat").steps(DRAG, **FAST)
    for event in run:
        assert isinstance(event, sdk.Progress)
        assert event.step is None or isinstance(event.step, sdk.Step)
        events.append((event.phase, event.done, event.total))
    assert events == [event for event in phases if event[0] != "identity"]  # that is on the disk by now
    assert np.array_equal(np.array(run.result().image), np.array(dragged.image))
    assert run.result() is run.result()
    assert run.result().stopped == "steps"
    assert list(run) == []
    editor.drag(DRAG, **FAST)  # the end of a run is no claim to the model


@pytest.mark.parametrize("trace", [False, True])
def test_only_a_trace_keeps_every_steps_tensors(editor, trace):
    with editor.steps(DRAG, **{**FAST, "steps": 5}, trace=trace) as run:
        latents = []
        for event in run:
            if event.step is not None:
                latents.append(weakref.ref(event.step.latent))
            if len(latents) == 4:
                break
        del event
        gc.collect()
        assert (latents[0]() is not None) == trace


def test_nothing_is_done_before_the_first_event(editor, model):
    run = editor.steps(DRAG, **FAST)
    assert is_free(model)
    assert editor.drag(DRAG, **FAST).steps == 3  # the model is not held either
    with pytest.raises(sdk.InterruptedEditError, match="before the drag began"):
        run.result()
    assert is_free(model)


def test_wrong_arguments_are_refused_at_once(editor):
    with pytest.raises(sdk.InputError):
        editor.steps([((20, 20), (600, 50))])
    with pytest.raises(sdk.InputError):
        editor.steps(DRAG, steps=0)


def test_leaving_the_loop_keeps_what_was_reached(editor, model):
    run = editor.steps(DRAG, **{**FAST, "steps": 50})
    for progress in run:
        if progress.step is not None and progress.step.iteration == 1:
            break
    assert not is_free(model)
    result = run.result()
    assert is_free(model)
    assert (result.stopped, result.steps) == ("interrupted", 2)
    assert np.array_equal(np.array(result.image), np.array(editor.drag(DRAG, **{**FAST, "steps": 2}).image))


def test_a_stop_ends_the_drag_and_the_loop_goes_on_to_the_picture(editor):
    run = editor.steps(DRAG, **{**FAST, "steps": 50})
    phases = []
    for progress in run:
        phases.append(progress.phase)
        if phases.count("drag") == 2:
            run.stop()
    assert phases.count("drag") == 2
    assert phases[-1] == "denoise"
    assert run.result().stopped == "interrupted"


@pytest.mark.parametrize("end", ["close", "with", "del"])
def test_a_run_that_is_left_gives_the_model_back(editor, model, end):
    run = editor.steps(DRAG, **FAST)
    if end == "with":
        with run:
            next(run)
    else:
        next(run)
        assert not is_free(model) or run._phase == "identity"
        with pytest.raises(sdk.ModelInUseError, match="close"):
            editor.drag(DRAG, **FAST)
    if end == "close":
        run.close()
    if end == "del":
        gc.disable()  # it must not take a search for cycles
        try:
            del run
            assert is_free(model)
            editor.drag(DRAG, **FAST)
        finally:
            gc.enable()
        return
    assert is_free(model)
    assert list(run) == []
    with pytest.raises(sdk.InterruptedEditError, match="before there was a result"):
        run.result()
    editor.drag(DRAG, **FAST)


def test_a_run_may_go_from_thread_to_thread(editor, model):
    """Also its end: the model is free, and who waits for it is served."""
    run = editor.steps(DRAG, **FAST)
    threading.Thread(target=next, args=(run,)).start()
    time.sleep(0)
    results = []
    deadline = time.time() + 60
    while run._phase is None and time.time() < deadline:
        time.sleep(0.01)
    assert [event.phase for event in run][-1] == "denoise"
    waiting = threading.Thread(target=lambda: results.append(editor.drag(DRAG, **FAST)))
    waiting.start()
    waiting.join(60)
    assert is_free(model)
    assert np.array_equal(np.array(results[0].image), np.array(run.result().image))


def test_an_error_in_the_loop_ends_the_run(editor, model, monkeypatch):
    run = editor.steps(DRAG, **FAST)
    next(run)

    def fail(*_arguments):
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(model, "predict", fail)
    with pytest.raises(sdk.NotEnoughMemoryError):
        list(run)
    monkeypatch.undo()
    assert is_free(model)
    with pytest.raises(sdk.InterruptedEditError):
        run.result()


def test_a_preview_belongs_to_its_step(editor):
    previews = []
    for progress in editor.steps(DRAG, **FAST):
        if progress.preview is not None:
            assert progress.preview().size == (93, 70)
            previews.append(progress.preview)
    with pytest.raises(sdk.InputError, match="before"):
        previews[0]()


def test_what_the_caller_does_between_two_steps_is_not_counted(editor, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("dragtext.sdk.clock.time.perf_counter", lambda: now[0])
    run = editor.steps(DRAG, **FAST)
    for _ in run:
        now[0] += 1000
    assert run.result().timings == dict.fromkeys(("encode", "identity", "invert", "drag", "denoise"), 0)
