"""An editor on a pipeline that its owner goes on using: the same numbers, and a pipeline that is what it was."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from dragtext import sdk
from dragtext.sdk.model.pipeline import PipelineModel

from .helpers import noise
from .tiny import tiny_model

FAST = {"method": "dragdiffusion", "steps": 2, "lora_steps": 2, "lora_batch": 1, "inference_steps": 4}
DRAG = [((20, 20), (60, 50))]
PICTURE = noise()


@pytest.fixture
def pipe():
    """With parameters that want gradients, as `from_pretrained` gives them, and a module in training mode."""
    model = tiny_model()
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False,
        steps_offset=1,
    )  # fmt: skip
    pipe = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoder, tokenizer=model.tokenizer, unet=model.unet, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipe.set_progress_bar_config(disable=True)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(True)
    pipe.unet.conv_in.requires_grad_(False)
    pipe.unet.conv_out.train()
    return pipe


def state(pipe):
    found = {}
    for part in ("unet", "vae", "text_encoder"):
        module = getattr(pipe, part)
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            values = (id(tensor), tensor.data_ptr(), tensor.dtype, tensor.requires_grad, tensor.grad, tensor._version)
            found[part, name] = (*values, tensor.detach().float().sum().item())
        for name, child in module.named_modules():
            hooks = (dict(child._forward_hooks), dict(child._forward_pre_hooks))
            found[part, name, "module"] = (id(child), child.training, "forward" in vars(child), *hooks)
    found["attention"] = {name: id(processor) for name, processor in pipe.unet.attn_processors.items()}
    return found


def generated(pipe):
    generator = torch.Generator().manual_seed(1)
    return pipe("a cat", width=64, height=64, num_inference_steps=3, generator=generator, output_type="np").images


def test_the_result_is_that_of_the_same_weights_and_the_pipeline_what_it_was(pipe):
    before, picture = state(pipe), generated(pipe)
    assert before == state(pipe)
    model = tiny_model()
    model.alphas_cumprod = pipe.scheduler.alphas_cumprod.double()  # which it has rounded to float32
    expected = sdk.Editor(model, PICTURE, "a cat").drag(DRAG, **FAST)
    editor = sdk.Editor.from_pipeline(pipe, PICTURE, "a cat")
    assert state(pipe) == before
    result = editor.drag(DRAG, **FAST)
    assert state(pipe) == before
    assert np.array_equal(np.array(result.image), np.array(expected.image))
    assert np.array_equal(np.array(result.at(0.5)), np.array(expected.at(0.5)))
    assert state(pipe) == before
    assert np.array_equal(generated(pipe), picture)
    assert np.array_equal(np.array(editor.drag(DRAG, **FAST).image), np.array(result.image))


def test_the_pipeline_comes_back_after_errors_and_from_runs_that_are_left(pipe):
    before = state(pipe)
    editor = sdk.Editor.from_pipeline(pipe, PICTURE)

    def fail(progress):
        if progress.phase == "drag":
            raise ValueError("from a callback")

    with pytest.raises(ValueError, match="from a callback"):
        editor.drag(DRAG, **FAST, on_progress=fail)
    assert state(pipe) == before
    run = editor.steps(DRAG, **FAST)
    next(run)
    assert not any(parameter.requires_grad for parameter in pipe.unet.parameters())
    del run
    assert state(pipe) == before


def test_half_precision_computes_on_copies_of_autoencoder_and_text_encoder(pipe):
    pipe.to(torch.bfloat16)
    before = state(pipe)
    editor = sdk.Editor.from_pipeline(pipe, PICTURE)
    assert editor.model.dtype == torch.bfloat16
    editor.drag(DRAG, **FAST)
    assert state(pipe) == before
    assert {p.dtype for p in editor.model.vae.parameters()} == {torch.float32}
    assert editor.model.unet is pipe.unet


def test_attention_of_the_pipelines_own_is_used(pipe):
    used = []

    class Own(type(next(iter(pipe.unet.attn_processors.values())))):
        def __call__(self, *args, **kwargs):
            used.append(torch.is_grad_enabled())
            return super().__call__(*args, **kwargs)

    pipe.unet.set_attn_processor(Own())
    before = state(pipe)
    sdk.Editor.from_pipeline(pipe, PICTURE).drag(DRAG, **FAST)
    assert state(pipe) == before
    assert True in used


def test_a_lora_of_the_pipeline_counts_and_so_does_its_strength(pipe):
    peft = pytest.importorskip("peft")
    editor = sdk.Editor.from_pipeline(pipe, PICTURE)
    plain = np.array(editor.drag(DRAG, **FAST).image)
    fingerprints = [editor.model.fingerprint]
    torch.manual_seed(0)
    pipe.unet.add_adapter(peft.LoraConfig(r=4, target_modules=["to_q", "to_v", "to_out.0"], init_lora_weights=False))
    before = state(pipe)
    images = []
    for strength in (1.0, 0.2):
        for module in pipe.unet.modules():
            if hasattr(module, "scaling"):
                module.scaling["default"] = strength
        images.append(np.array(editor.drag(DRAG, **FAST).image))
        fingerprints.append(editor.model.fingerprint)
    assert state(pipe) == before
    assert len(set(fingerprints)) == 3
    assert not np.array_equal(images[0], plain)
    assert not np.array_equal(images[0], images[1])


def offloaded(pipe):
    pipe.unet._hf_hook = object()


def moved(pipe):
    pipe.vae.to("meta")


def quantised(pipe):
    pipe.unet.conv_in.weight = torch.nn.Parameter(torch.zeros(3, dtype=torch.uint8), requires_grad=False)


def fused(pipe):
    pipe.unet.fuse_qkv_projections()


def half_on_the_cpu(pipe):
    pipe.to(torch.float16)


def with_ip_adapter(pipe):
    pipe.unet.register_to_config(encoder_hid_dim_type="ip_image_proj")


def made_in_inference_mode(pipe):
    with torch.inference_mode():
        pipe.unet = copy.deepcopy(pipe.unet)
        pipe.unet.conv_in.weight = torch.nn.Parameter(torch.zeros(64, 4, 3, 3), requires_grad=False)


STATES = {
    offloaded: "remove_all_hooks",
    moved: r"pipe\.to",
    quantised: "quantised",
    fused: "unfuse_qkv_projections",
    half_on_the_cpu: "float32",
    with_ip_adapter: "unload_ip_adapter",
    made_in_inference_mode: "inference_mode",
}


@pytest.mark.parametrize("change", STATES, ids=lambda change: change.__name__)
def test_states_that_do_not_allow_it_are_one_sentence(pipe, change):
    editor = sdk.Editor.from_pipeline(pipe, PICTURE)
    if change is made_in_inference_mode:
        change(pipe)
    else:
        change(pipe)
        with pytest.raises(sdk.InputError, match=STATES[change]):
            editor.drag(DRAG, **FAST)
    with pytest.raises(sdk.InputError, match=STATES[change]) as caught:
        sdk.Editor.from_pipeline(pipe, PICTURE)
    assert "\n" not in str(caught.value)


def test_a_pipeline_that_was_converted_meanwhile(pipe):
    editor = sdk.Editor.from_pipeline(pipe, PICTURE)
    pipe.to(torch.bfloat16)
    with pytest.raises(sdk.InputError, match="converted meanwhile"):
        editor.drag(DRAG, **FAST)
    sdk.Editor.from_pipeline(pipe, PICTURE).drag(DRAG, **FAST)


def test_other_pipelines_are_refused(pipe):
    with pytest.raises(sdk.ModelError, match="StableDiffusionPipeline"):
        sdk.Editor.from_pipeline(object(), PICTURE)
    del pipe.scheduler.alphas_cumprod
    with pytest.raises(sdk.ModelError, match="noise levels"):
        PipelineModel(pipe)
