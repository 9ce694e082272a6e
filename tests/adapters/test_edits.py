"""Edits in a host's turn: no trace afterwards, its queue, progress, files, accounts and folders."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from dragtext.extension.presets import Presets
from dragtext.extension.queue import ClosedError, Jobs
from dragtext.sdk.errors import ModelError
from dragtext.sdk.model.recommended import recommended_file

from .conftest import asked, picture, run
from .ldm_host import unchanged


@pytest.mark.parametrize("ending", ["done", "error", "interrupt", "identity", "memory"])
def test_no_trace_is_left(host, ending, monkeypatch):
    with torch.inference_mode():
        x, t, c = torch.randn(1, 4, 8, 8), torch.tensor([300.0]), torch.randn(1, 77, 32)
        before = host.unet(x, t, context=c)

    def show(notice):
        if ending == "error" and "dragging 2" in notice.text:
            raise RuntimeError("broken on purpose")
        if ending == "memory" and "dragging 2" in notice.text:
            raise RuntimeError("CUDA out of memory")
        if ending == "interrupt" and "dragging 2" in notice.text:
            host.log.state.interrupted = True
        if ending == "identity" and "learning" in notice.text:
            host.log.state.skipped = True

    monkeypatch.setattr(host, "show", show)
    with unchanged(host.whole):
        job = run(host, asked(steps=10))
        expected = {"error": "failed", "memory": "failed", "identity": "interrupted"}.get(ending, "done")
        assert job.state == expected, job.error
    with torch.inference_mode():
        assert torch.equal(host.unet(x, t, context=c), before)
    assert host.log.networks[-1] == "off"
    assert host.log.state.jobs[-1] == "end"
    assert host.log.tasks[-1][0] == "finished"


def test_a_lean_edit_is_the_same_picture(host):
    """Blocks are computed again in the host's own U-Net, also where it adds in place."""
    with unchanged(host.whole):
        usual, lean = (run(host, asked(steps=4, lora_batch=1, memory=memory)) for memory in ("full", "lean"))
    assert (usual.state, lean.state) == ("done", "done"), lean.error
    assert usual.image.tobytes() == lean.image.tobytes()


def test_a_reload_of_the_page_ends_what_runs_and_what_waits(host, monkeypatch):
    # The host asks for it long before it tells its scripts: first its server waits for every open request.
    server = SimpleNamespace(should_exit=False)
    monkeypatch.setattr(host.log.shared, "demo", SimpleNamespace(server=server), raising=False)

    def show(notice):
        if "dragging 1" in notice.text:
            server.should_exit = True

    monkeypatch.setattr(host, "show", show)
    jobs = Jobs(host)
    try:
        running, waiting = (jobs.submit(picture(), asked(steps=50, drag_levels=10)) for _ in range(2))
        assert not jobs.closed
        assert running.ended.wait(60)
        assert waiting.ended.wait(60)
        assert jobs.closed
        for job in (running, waiting):
            assert (job.state, job.result, str(job.error)) == ("interrupted", None, "The WebUI was reloaded.")
        assert host.log.networks[-1] == "off"
        with pytest.raises(ClosedError):
            jobs.submit(picture(), asked())
    finally:
        jobs.close()


def test_the_hosts_queue_progress_and_files(host):
    job = run(host, asked("a cat <lora:thing:0.8>"))
    assert job.state == "done"
    assert host.log.tasks == [("queued", job.id), ("started", job.id), ("finished", job.id)]
    assert host.log.state.jobs == [job.id, "end"]
    assert host.log.state.textinfo.startswith("DragText: rendering")
    # The network is loaded for the edit, and its tag is not read as text.
    assert host.log.networks == [(("a cat",), {"lora": ["thing:0.8"]}), "off"]
    ((path, seed, prompt, extension, more),) = host.log.saved
    assert path.endswith("out")
    assert (seed, prompt, extension) == (42, "a cat <lora:thing:0.8>", "png")
    assert more["info"] == job.infotext
    assert more["existing_info"]["dragtext"] == job.result.request.to_json()


def test_what_the_host_does_to_a_picture_in_saving_it_stays_in_the_file(host):
    job = run(host, asked())
    assert job.saved
    assert job.image.mode == job.result.image.mode == "RGB"


def test_saving_can_be_turned_off(host):
    host.log.shared.opts.samples_save = False
    assert run(host, asked()).saved is None
    assert host.log.saved == []


def test_accounts_are_read_from_the_hosts_flags(a1111, tmp_path):
    flags = a1111.log.shared.cmd_opts
    assert not a1111.accounts().required
    flags.gradio_auth, flags.api_auth = "me:a:b, you:c", "script:d"
    (tmp_path / "auth").write_text("third:e\n\n")
    flags.gradio_auth_path = str(tmp_path / "auth")
    accounts = a1111.accounts()
    assert accounts.page == {"me": "a:b", "you": "c", "third": "e"}
    assert accounts.api == {"script": "d"}


def test_a_checkpoints_own_settings_are_read_beside_its_file_without_loading_one(host, monkeypatch):
    monkeypatch.delattr(host.log.shared, "sd_model")  # in the hosts, asking for it loads one
    assert host.recommended() == {}
    suited = {"default": {"method": "warp"}, "rotate": {"strength": 0.8}}
    beside = recommended_file(Path(host.log.model_data.sd_model.filename))
    beside.write_text(json.dumps({"settings": suited}))
    assert host.recommended() == suited
    beside.write_text("{")
    with pytest.raises(ModelError, match="correct or remove it"):
        host.recommended()
    host.log.model_data.sd_model = None
    assert host.recommended() == {}


def test_a1111s_checkpoint_is_known_by_its_entry_in_the_list(a1111):
    del a1111.whole.filename  # which only Forge's engine has
    recommended_file(Path(a1111.whole.sd_checkpoint_info.filename)).write_text(
        '{"settings": {"default": {"lr": 0.03}}}'
    )
    assert a1111.recommended() == {"default": {"lr": 0.03}}


def test_presets_and_cache_lie_where_the_host_keeps_its_files(host, tmp_path):
    assert host.config_folder == tmp_path / "dragtext"
    assert host.cache_folder == tmp_path / "cache" / "dragtext"
    presets = Presets(host.config_folder)
    presets.put("mine", {"steps": 5})
    assert presets.path.parent == host.config_folder
    assert Presets(host.config_folder).all() == {"mine": {"steps": 5}}
