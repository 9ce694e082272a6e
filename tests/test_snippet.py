"""The program of an edit gives the same picture, to the byte."""

from __future__ import annotations

import numpy as np
import pytest
from dragtext.extension.pictures import file_name
from dragtext.extension.queue import Jobs
from dragtext.extension.snippet import snippet
from dragtext.sdk.evaluation.tasks import drag_task
from dragtext.sdk.model.load import load_model
from dragtext.sdk.picture.masks import mask_to_uri
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from .jobs import finished
from .lender import Lender

TASK = drag_task(0, "move")
LOOP = {"method": "gooddrag", "steps": 6, "lora_steps": 2, "lora_batch": 1, "inference_steps": 8, "strength": 0.5}


@pytest.fixture(scope="module")
def lender(tmp_path_factory):
    return Lender(load_model(), tmp_path_factory.mktemp("out"))


def run(program: str, folder, monkeypatch) -> np.ndarray:
    monkeypatch.chdir(folder)
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
    return np.array(Image.open(folder / "dragged.png"))


@pytest.mark.parametrize("settings", [{"inference_steps": 8}, LOOP, {**LOOP, "interrupt": 3}], ids=str)
def test_the_program_gives_the_same_picture(lender, settings, tmp_path, monkeypatch):
    settings = dict(settings)
    stop = settings.pop("interrupt", None)
    jobs = Jobs(lender)
    region = mask_to_uri(TASK.before)
    mask = mask_to_uri(TASK.mask > 0)
    asked = Request(make_drags(TASK.drags), 'it\'s a "toy"', mask, make_settings(settings), region)
    lender.on_show = lambda notice: jobs.interrupt(job) if stop and f"dragging {stop}/" in notice.text else None
    try:
        lender.hold.clear()
        job = jobs.submit(Image.fromarray(TASK.image), asked)
        lender.hold.set()
        finished(job)
        assert (job.state, job.result.stopped == "interrupted") == ("done", stop is not None)
        (tmp_path / file_name(job.picture)).write_bytes(job.picture.data)
        program = snippet(job.result, job.picture, (1.0, 1.0))
        assert np.array_equal(run(program, tmp_path, monkeypatch), np.array(job.image))
        if stop is None:
            render = finished(jobs.submit_render(job, 0.5, 0.0))
            assert np.array_equal(
                run(snippet(job.result, job.picture, render.v), tmp_path, monkeypatch), np.array(render.image)
            )
    finally:
        lender.on_show = lambda _notice: None
        jobs.close()


def test_other_models_are_named_without_their_place(jobs):
    asked = Request(
        make_drags([((20, 30), (50, 30))]), "a <lora:x:1>", None, make_settings({"lora_steps": 0, "steps": 1})
    )
    job = finished(jobs.submit(Image.new("RGB", (80, 64), (9, 9, 9)), asked))
    program = snippet(job.result, job.picture, (1.0, 1.0))
    assert f"MODEL = '{job.result.model}.safetensors'" in program
    assert "networks" in program
