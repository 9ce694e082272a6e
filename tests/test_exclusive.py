"""One edit at a time per model, and numbers that do not depend on what the caller has set torch to."""

from __future__ import annotations

import contextlib
import threading
import warnings

import numpy as np
import pytest
import torch
from dragtext import sdk
from dragtext.sdk.model import exclusive

from .helpers import noise
from .tiny import tiny_model

FAST = {"method": "dragdiffusion", "steps": 3, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
JOBS = (
    (0, "a cat", [((20, 20), (60, 50))], {"method": "dragdiffusion", "lora_steps": 4}),
    (1, "a dog", [((70, 10), (30, 40))], {"method": "dragdiffusion", "lora_steps": 2, "seed": 7}),
)


def run(model, job):
    seed, prompt, drags, settings = job
    result = sdk.Editor(model, noise(seed=seed), prompt).drag(drags, **{**FAST, **settings})
    return [result, np.array(result.image), np.array(result.at(0.5))]


def same(one, other):
    return (
        torch.equal(one[0].latent_after, other[0].latent_after)
        and torch.equal(one[0].text_after, other[0].text_after)
        and np.array_equal(one[1], other[1])
        and np.array_equal(one[2], other[2])
    )


@pytest.fixture
def no_cache(tmp_path, monkeypatch):
    """Every identity LoRA is fitted again."""
    monkeypatch.setattr("dragtext.sdk.model.cache.load_tensors", lambda _key: None)


def test_two_threads_give_what_one_after_the_other_gives(model, no_cache):
    alone = [run(model, job) for job in JOBS]
    together: list = [None, None]

    def work(index):
        together[index] = run(model, JOBS[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert all(same(one, other) for one, other in zip(alone, together))


def test_another_adapter_over_the_same_unet_waits_too(model):
    """A host makes a new `DiffusionModel` over its weights for every edit."""
    other = object.__new__(type(model))
    other.__dict__.update(vars(model))
    seen = []

    def second():
        sdk.Editor(other, noise()).drag(JOBS[0][2], **FAST, on_progress=lambda _: seen.append("second"))

    thread = threading.Thread(target=second)

    def first(progress):
        if progress.phase == "drag" and not thread.ident:
            thread.start()
            thread.join(0.5)
        seen.append("first")

    sdk.Editor(model, noise()).drag(JOBS[0][2], **FAST, on_progress=first)
    thread.join(60)
    assert seen == sorted(seen)
    assert "second" in seen


def test_a_second_edit_within_one_of_the_same_thread_is_refused(model):
    editor = sdk.Editor(model, noise())
    before = editor.drag(JOBS[0][2], **FAST)
    refused = []

    def inside(progress):
        for attempt in (lambda: before.at(0.5), lambda: sdk.Editor(model, noise(seed=1)).drag(JOBS[0][2], **FAST)):
            with pytest.raises(sdk.ModelInUseError, match="middle of an edit"):
                attempt()
            refused.append(progress.phase)

    after = editor.drag(JOBS[0][2], **FAST, on_progress=inside)
    assert {"drag", "denoise"} == set(refused)
    assert np.array_equal(np.array(before.image), np.array(after.image))
    with pytest.raises(sdk.ModelInUseError):
        before.rendering.sweep([0.5], lambda *_: before.at(0.5))
    before.at(0.5)


def test_another_model_may_be_used_within_an_edit(model):
    second = sdk.Editor(tiny_model(seed=3), noise())
    seen = set()

    def once_in_every_phase(progress):
        if progress.phase not in seen:
            seen.add(progress.phase)
            second.drag(JOBS[0][2], **{**FAST, "steps": 1})

    sdk.Editor(model, noise()).drag(JOBS[0][2], **{**FAST, "steps": 1}, on_progress=once_in_every_phase)
    assert seen == {"identity", "invert", "drag", "denoise"}


def test_locks_die_with_their_models(model):
    import gc

    sdk.Editor(model, noise()).drag(JOBS[0][2], **FAST)
    other = tiny_model(seed=4)
    sdk.Editor(other, noise()).drag(JOBS[0][2], **FAST)
    gc.collect()  # the models of earlier tests
    count = len(exclusive._turns)
    del other
    gc.collect()
    assert len(exclusive._turns) == count - 1


@contextlib.contextmanager
def _default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def _cuda_autocast():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with torch.autocast("cuda", dtype=torch.float16):
            yield


AMBIENT = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "autocast on the CPU": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast on CUDA": _cuda_autocast,
    "default type float64": lambda: _default_dtype(torch.float64),
    "default type bfloat16": lambda: _default_dtype(torch.bfloat16),
    "default device": lambda: torch.device("meta"),
    "deterministic": _deterministic,
}


def state():
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        [torch.empty(2, 2).matmul(torch.empty(2, 2)).dtype],  # what autocast makes of it
        torch.is_autocast_enabled(),
        torch.get_default_dtype(),
        torch.empty(0).device.type,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


@pytest.fixture(scope="module")
def plain(model):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dragtext.sdk.model.cache.load_tensors", lambda _key: None)
        patch.setattr("dragtext.sdk.model.cache.save_tensors", lambda *_: None)
        return run(model, JOBS[0])


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=AMBIENT)
def test_what_torch_is_set_to_does_not_matter(model, plain, no_cache, ambient):
    seed, prompt, drags, settings = JOBS[0]
    with ambient():
        before = state()
        editor = sdk.Editor(model, noise(seed=seed), prompt)
        previews = []

        def look(progress):
            assert state() == before  # the caller's code runs as it would without us
            if progress.preview is not None and not previews:
                previews.append(progress.preview())

        result = editor.drag(drags, **{**FAST, **settings}, on_progress=look)
        found = [result, np.array(result.image), np.array(result.at(0.5))]
        again = editor.drag(drags, **{**FAST, **settings})
        assert state() == before
    assert same(plain, found)
    assert np.array_equal(np.array(again.image), found[1])
    assert previews


@pytest.mark.parametrize("ambient", AMBIENT.values(), ids=AMBIENT)
def test_a_model_is_loaded_the_same_whatever_torch_is_set_to(embedded, ambient):
    plain = embedded
    with ambient():
        model = sdk.load_model(device="cpu")
    assert model.fingerprint == plain.fingerprint
    for part in ("unet", "vae", "text_encoder"):
        for one, other in zip(getattr(model, part).parameters(), getattr(plain, part).parameters()):
            assert one.dtype == other.dtype == torch.float32
            assert not one.is_inference()
            assert torch.equal(one, other)


def test_a_model_that_was_first_used_in_inference_mode_still_drags():
    model = tiny_model(seed=5)
    with torch.inference_mode():
        run(model, JOBS[0])
    run(model, JOBS[0])
