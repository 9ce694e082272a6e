"""The host adapters over real ldm modules: the same numbers as the diffusers backend, and no trace afterwards."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from dragtext.extension.hosts.a1111 import A1111
from dragtext.extension.hosts.detect import UnsupportedHostError, detect
from dragtext.extension.hosts.forge import Forge
from dragtext.extension.presets import Presets
from dragtext.extension.queue import ClosedError, Jobs
from dragtext.sdk.editor import Editor
from dragtext.sdk.errors import InputError, ModelError
from dragtext.sdk.model.recommended import recommended_file
from dragtext.sdk.model.taps import features_only
from dragtext.sdk.request import Request, make_drags
from dragtext.sdk.settings import make_settings
from PIL import Image

from .tiny import tiny_model

pytest.importorskip("ldm", reason="stable-diffusion-sdkit is not installed (pip install --no-deps)")

from .ldm_host import (
    LatentDiffusion,
    forge_engine,
    install,
    install_a1111,
    install_forge,
    install_webui,
    unchanged,
)

PROMPT = "a cat the red dog"
METHODS = ("gooddrag", "dragdiffusion", "freedrag", "dragnoise")


@pytest.fixture(scope="module")
def reference():
    return tiny_model()


@pytest.fixture
def ldm(reference, tmp_path):
    return LatentDiffusion(reference, tmp_path)


@pytest.fixture
def a1111(ldm, monkeypatch, tmp_path):
    host = A1111()
    host.log = install_a1111(monkeypatch, ldm, tmp_path)
    host.unet = ldm.model.diffusion_model
    host.whole = ldm
    return host


@pytest.fixture
def forge(ldm, monkeypatch, tmp_path):
    engine = forge_engine(ldm)
    host = Forge()
    host.log = install_forge(monkeypatch, engine, tmp_path)
    host.unet = engine.forge_objects.unet.model.diffusion_model
    host.whole, host.engine = host.unet.inner, engine
    return host


@pytest.fixture(params=["a1111", "forge"])
def host(request):
    return request.getfixturevalue(request.param)


def picture() -> Image.Image:
    # The original ldm code takes multiples of 64 only; both hosts changed that.
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 128, 3), dtype=np.uint8))


def asked(prompt: str = PROMPT, **settings) -> Request:
    values = {"steps": 3, "inference_steps": 4, "lora_steps": 2, "lora_batch": 2, "drag_levels": 2, **settings}
    return Request(make_drags([((20, 30), (50, 30))]), prompt, None, make_settings(values))


def run(host, request: Request, **more):
    jobs = Jobs(host)
    try:
        job = jobs.submit(picture(), request, **more)
        assert job.ended.wait(120)
        return job
    finally:
        jobs.close()


def gradients(model, text, timestep: int = 501):
    latent = torch.randn(1, 4, 8, 16, generator=torch.Generator().manual_seed(1)).requires_grad_()
    words = text.clone().requires_grad_()
    features = features_only(model, latent, timestep, words, 3)
    return features.detach(), *torch.autograd.grad(features.float().square().mean(), [latent, words])


def close(a, b, tolerance: float) -> bool:
    return float((a - b).abs().max()) <= tolerance * float(b.abs().max())


def test_the_same_numbers_as_the_diffusers_backend(host, reference):
    expected_text = reference.encode_text(PROMPT)
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    with host.turn("x"):
        outcome = host.call(lambda: compare(host, reference, expected_text, image))
    assert outcome is None


@pytest.mark.parametrize("is_sd2", [False, True])
def test_only_the_second_generation_predicting_v_is_made_for_768(host, is_sd2):
    if isinstance(host, A1111):
        host.whole.parameterization, host.whole.is_sd2 = "v", is_sd2
        expected = 768 if is_sd2 else 8 * host.whole.image_size
    else:
        host.engine.forge_objects.unet.model.predictor.prediction_type, host.engine.is_sd2 = "v_prediction", is_sd2
        expected = 768 if is_sd2 else 512
    with host.lend(PROMPT, 0.7) as model:
        assert (model.prediction_type, model.native_resolution) == ("v_prediction", expected)


def compare(host, reference, expected_text, image):
    with host.lend(PROMPT, 0.7) as model:
        text = model.encode_text(PROMPT)
        assert torch.equal(text.embedding, expected_text.embedding)
        assert text.content_length == expected_text.content_length
        for ours, theirs in zip(gradients(model, text.embedding), gradients(reference, expected_text.embedding)):
            assert close(ours, theirs, 1e-4)
        latent = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
        both = text.embedding.expand(2, -1, -1)
        with torch.no_grad():
            assert close(model.predict(latent, 300, both), reference.predict(latent, 300, both), 1e-4)
        ours, theirs = model.encode_image(image), reference.encode_image(image)
        assert close(ours.mean, theirs.mean, 1e-4)
        assert close(ours.std, theirs.std, 1e-3)
        assert close(model.decode(theirs.mean), reference.decode(theirs.mean), 1e-4)
        assert torch.allclose(model.alphas_cumprod, reference.alphas_cumprod, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_a_whole_edit_is_the_one_of_the_diffusers_backend(host, reference, method):
    # Without a LoRA, whose random beginning depends on the order of the U-Net's modules.
    request = asked(method=method, lora_steps=0)
    job = run(host, request)
    assert (job.state, job.error) == ("done", None)
    expected = Editor(reference, picture(), PROMPT).drag(request.drags, settings=request.settings)
    assert np.array_equal(job.result.trajectory, expected.trajectory)
    assert np.allclose(job.result.losses, expected.losses, rtol=1e-3)
    difference = np.abs(np.array(job.result.image).astype(int) - np.array(expected.image))
    # Adam turns a rounding's sign into a step, so single pixels may differ.
    assert np.quantile(difference, 0.99) <= 4


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


def test_prompts_that_change_on_the_way_and_that_do_not_fit(host, reference):
    def embedding(prompt: str, strength: float):
        with host.turn("x"), host.lend(prompt, strength) as model:
            return model.encode_text(prompt).embedding

    assert torch.equal(embedding("a cat|the dog", 0.7), reference.encode_text("a cat").embedding)
    assert torch.equal(embedding("a cat|the dog", 0.3), reference.encode_text("the dog").embedding)
    with pytest.raises(InputError, match="AND"):
        embedding("a cat AND a dog", 0.7)


def test_the_fingerprint_changes_with_what_decides_the_numbers(host, monkeypatch, tmp_path):
    def fingerprint(prompt: str = PROMPT, strength: float = 0.7) -> str:
        with host.turn("x"), host.lend(prompt, strength) as model:
            return model.fingerprint

    first = fingerprint()
    assert fingerprint() == first
    assert fingerprint("a|b", 0.7) != fingerprint("a|b", 0.3)
    file = tmp_path / "thing.safetensors"
    file.write_bytes(b"1")
    thing = SimpleNamespace(
        name="thing",
        te_multiplier=1.0,
        unet_multiplier=1.0,
        dyn_dim=None,
        mentioned_name="alias",
        network_on_disk=SimpleNamespace(filename=str(file)),
    )
    install(monkeypatch, "networks", loaded_networks=[thing])
    loaded = fingerprint()
    thing.unet_multiplier = 0.5
    weaker = fingerprint()
    file.write_bytes(b"22")
    assert len({first, loaded, weaker, fingerprint()}) == 4


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
        (model, "is_sdxl", True, "SDXL"),
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


def test_a1111_puts_back_what_it_takes_off(a1111):
    model, log = a1111.whole, a1111.log
    model.applied_token_merged_ratio = 0.5
    log.hijack.circular_enabled = True
    log.sd_hijack.current_optimizer = SimpleNamespace(name="xformers", title=lambda: "xformers")
    with a1111.turn("x"), a1111.lend(PROMPT, 0.7):
        assert model.applied_token_merged_ratio == 0
        assert not log.hijack.circular_enabled
        assert log.optimizations == ["sdp - scaled dot product"]
    assert model.applied_token_merged_ratio == 0.5
    assert log.hijack.circular_enabled
    assert log.optimizations == ["sdp - scaled dot product", "xformers"]
    assert log.reloaded == [True]


def test_what_other_extensions_left_on_the_model_is_off_during_an_edit_and_put_back(host):
    unet = host.unet
    blocks = [*unet.input_blocks, unet.middle_block, *unet.output_blocks]
    transformers = [module for module in unet.modules() if type(module).__name__ == "BasicTransformerBlock"]
    attentions = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    expected = run(host, asked())
    assert expected.state == "done"

    def broken(*_args, **_more):
        raise RuntimeError("control_params of a generation that is over")

    is_forge = isinstance(host, Forge)
    autoencoder = host.engine.forge_objects.vae.first_stage_model if is_forge else host.whole.first_stage_model
    leftovers = [(module, "forward") for module in [unet, *blocks, *attentions, autoencoder.encoder]]
    leftovers += [(module, "_forward") for module in transformers]
    if not is_forge:
        leftovers += [(host.whole, "apply_model"), (host.log.th, "cat"), (host.whole.model, "forward")]
    for owner, name in leftovers:
        setattr(owner, name, broken)
    hook = attentions[0].register_forward_hook(broken)
    try:
        with unchanged(host.whole):
            job = run(host, asked())
            assert (job.state, job.error) == ("done", None)
        assert np.array_equal(np.array(job.result.image), np.array(expected.result.image))
        assert all(vars(owner)[name] is broken for owner, name in leftovers)
        assert list(attentions[0]._forward_hooks.values()) == [broken]
    finally:
        hook.remove()
        for owner, name in leftovers:
            del vars(owner)[name]


def test_leftovers_are_put_back_after_an_edit_that_failed(host, monkeypatch):
    def show(_notice):
        raise RuntimeError("broken on purpose")

    def left(*_args, **_more):
        raise RuntimeError("left")

    host.unet.forward = left
    monkeypatch.setattr(host, "show", show)
    assert run(host, asked()).state == "failed"
    assert vars(host.unet)["forward"] is left


def test_layers_of_another_extension_are_named(host):
    class VanillaTemporalModule(torch.nn.Identity):
        pass

    host.unet.output_blocks[3].append(VanillaTemporalModule())
    job = run(host, asked())
    assert isinstance(job.error, ModelError)
    assert "(VanillaTemporalModule); restart the WebUI" in str(job.error)


def test_forges_weights_as_they_come_have_no_gradients(forge, reference):
    latent = torch.randn(1, 4, 8, 8, requires_grad=True)
    text = reference.encode_text(PROMPT).embedding
    with pytest.raises(RuntimeError, match=r"[Ii]nference tensors"):
        forge.unet(latent, torch.tensor([1.0]), context=text).sum().backward()


def test_forge_works_in_its_main_thread_with_a_differentiable_attention(forge, monkeypatch):
    seen = []
    monkeypatch.setattr(forge, "show", lambda _notice: seen.append(forge.log.unet_module.attention_function))
    assert run(forge, asked()).state == "done"
    assert set(seen) == {"differentiable"}
    assert forge.log.unet_module.attention_function == "chunked"
    assert forge.log.operations.merge_lora_to_weight == "merge"
    assert forge.log.threads == ["forge main"]
    assert max(forge.log.loads) >= 1000.0 * 8 * 16  # room for the graph is asked for


def test_forge_loses_nothing_that_is_raised_in_its_main_thread(forge):
    def fail():
        raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        forge.call(fail)


def test_forge_uses_the_bare_model_and_puts_back_what_was_patched(forge):
    patched = forge.engine.forge_objects = forge.engine.forge_objects.shallow_copy()
    with forge.turn("x"), forge.lend(PROMPT, 0.7):
        assert forge.engine.forge_objects is not patched
    assert forge.engine.forge_objects is patched


def test_forge_recovers_from_a_failed_load(forge, monkeypatch):
    models = sys.modules["modules.sd_models"]
    monkeypatch.setattr(
        models,
        "forge_model_reload",
        lambda: (None if models.model_data.forge_hash else forge.engine, True),
    )
    assert run(forge, asked()).state == "done"


def test_forge_refuses_what_it_cannot_drag_on(forge):
    engine = forge.engine
    for change, words in (({"is_sd1": False}, "SDXL"), ({"is_inpaint": True}, "inpainting")):
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


@pytest.mark.parametrize("tiles", [1, 2])
def test_a_forge_that_samples_gives_the_same_latent_every_time(forge, reference, tiles):
    image = torch.rand(1, 3, 64, 128, generator=torch.Generator().manual_seed(2)) * 2 - 1
    forge.engine.forge_objects_original.vae.tiles = tiles
    random = torch.random.get_rng_state()
    with forge.turn("x"), forge.lend(PROMPT, 0.7) as model:
        first, second = model.encode_image(image), model.encode_image(image)
    expected = reference.encode_image(image)
    assert torch.equal(first.mean, second.mean)
    assert close(first.mean, expected.mean, 1e-4)
    # Tiles are blended, so how sure they were is lost.
    assert close(first.std, expected.std, 1e-3) if tiles == 1 else not first.std.any()
    assert torch.equal(torch.random.get_rng_state(), random)
    assert not first.mean.is_inference()


class TestDetection:
    @pytest.fixture(autouse=True)
    def no_host(self, monkeypatch):
        for name in [name for name in sys.modules if name.split(".")[0] in ("modules", "backend", "modules_forge")]:
            monkeypatch.delitem(sys.modules, name)

    def refused(self, words: str) -> None:
        before = set(sys.modules)
        with pytest.raises(UnsupportedHostError, match=words):
            detect()
        assert set(sys.modules) == before

    def test_a1111_and_forge_by_what_they_have_loaded(self, monkeypatch, tmp_path):
        with monkeypatch.context() as patch:
            install_a1111(patch, None, tmp_path)
            assert type(detect()) is A1111
        with monkeypatch.context() as patch:
            install_forge(patch, SimpleNamespace(), tmp_path)
            assert type(detect()) is Forge

    def test_forge_classic_and_reforge_are_refused(self, monkeypatch, tmp_path):
        install_a1111(monkeypatch, None, tmp_path)  # they kept much of it
        install(monkeypatch, "ldm_patched")
        install(monkeypatch, "modules_forge")
        self.refused("Forge Classic and reForge")

    @pytest.mark.parametrize("has_ldm", [False, True])
    def test_sd_next_is_refused_with_either_of_its_backends(self, monkeypatch, tmp_path, has_ldm):
        if has_ldm:
            install_a1111(monkeypatch, None, tmp_path)
        install(monkeypatch, "modules.shared", __file__="/host/modules/shared.py")
        install(monkeypatch, "installer", __file__="/host/installer.py")
        self.refused("SD.Next")

    def test_a_library_called_installer_is_not_sd_next(self, monkeypatch, tmp_path):
        install_a1111(monkeypatch, None, tmp_path)
        install(monkeypatch, "installer", __file__="/site-packages/installer/__init__.py")
        assert type(detect()) is A1111

    def test_anything_else_is_not_taken_for_one_of_them(self, monkeypatch, tmp_path):
        self.refused("does not know this WebUI")
        install_webui(monkeypatch, None, tmp_path)
        self.refused("does not know this WebUI")
