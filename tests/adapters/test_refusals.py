"""What cannot be dragged on in a host, in one sentence."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import torch
from dragtext.sdk.errors import ModelError

from .conftest import asked, run
from .ldm_host import install, unchanged


def test_a_lora_that_is_not_there_is_said(host, monkeypatch):
    install(monkeypatch, "networks", loaded_networks=[])
    parse = sys.modules["modules.extra_networks"]
    named = {"lora": [SimpleNamespace(items=["missing", "1"])]}
    monkeypatch.setattr(parse, "parse_prompts", lambda prompts: (["a cat"], named))
    job = run(host, asked())
    assert job.state == "failed"
    assert "The LoRA missing" in str(job.error)


def test_a_model_that_is_switched_while_an_edit_runs(host, monkeypatch):
    def show(notice):
        if "dragging 1" in notice.text:
            host.log.model_data.sd_model = object()

    monkeypatch.setattr(host, "show", show)
    with unchanged(host.whole):
        job = run(host, asked())
    assert job.state == "failed"
    assert "changed while the edit ran" in str(job.error)


def test_a1111_refuses_what_it_cannot_drag_on(a1111, monkeypatch):
    model = a1111.whole

    def refused(words: str) -> None:
        job = run(a1111, asked())
        assert job.state == "failed"
        assert isinstance(job.error, ModelError)
        assert words in str(job.error)

    for owner, name, value, words in (
        (model, "is_sd3", True, "SD3"),
        (model.model, "conditioning_key", "hybrid", "inpainting"),
        (model, "parameterization", "x0", "'x0'"),
        (a1111.log.shared, "sd_model", None, "No checkpoint"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            refused(words)
    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.Linear, "org_forward", None, raising=False)
        first = next(model.model.diffusion_model.parameters())
        stored, first.data = first.data, first.data.to(torch.float8_e4m3fn)
        refused("FP8")
        first.data = stored
    a1111.log.shared.cmd_opts.lowvram = model.lowvram = True
    refused("--medvram")


def test_layers_of_another_extension_are_named(host):
    class VanillaTemporalModule(torch.nn.Identity):
        pass

    host.unet.output_blocks[3].append(VanillaTemporalModule())
    job = run(host, asked())
    assert isinstance(job.error, ModelError)
    assert "(VanillaTemporalModule); restart the WebUI" in str(job.error)


def test_forge_refuses_what_it_cannot_drag_on(forge):
    engine = forge.engine
    for change, words in (({"is_sd1": False}, "SD3, Flux"), ({"is_inpaint": True}, "inpainting")):
        for name, value in change.items():
            before = getattr(engine, name)
            setattr(engine, name, value)
            job = run(forge, asked())
            setattr(engine, name, before)
            assert words in str(job.error)
    engine.forge_objects.unet.model.predictor.prediction_type = "edm"
    assert "neither noise nor v" in str(run(forge, asked()).error)
    del engine.forge_objects
    assert "No checkpoint" in str(run(forge, asked()).error)
