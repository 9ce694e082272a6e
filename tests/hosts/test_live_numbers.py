"""What DragText computes over a WebUI's own modules, against the WebUI and against diffusers; see test_live.py.

Wants the folder `leaver` among the WebUI's extensions. DRAGTEXT_CHECKPOINT names the file that the WebUI has loaded, in
float32 (A1111: --no-half --precision full), and adds the comparison with diffusers.
"""

from __future__ import annotations

import os

import pytest
import torch

from .test_live import URL, client  # noqa: F401 (client is a fixture)

pytestmark = pytest.mark.skipif(not URL, reason="DRAGTEXT_WEBUI_URL names no running WebUI")

CHECKPOINT = os.environ.get("DRAGTEXT_CHECKPOINT", "")
SIZE = (256, 192)
PROMPT = "a photo of a cat, red"


def asked(client, timestep: int, prompt: str = PROMPT) -> dict:  # noqa: F811
    body = {"prompt": prompt, "size": SIZE, "timestep": timestep, "seed": timestep}
    answer = client.post("/dragtext-leaver/predict", json=body)
    if answer.status_code in (404, 405):
        pytest.skip("the extension in the folder leaver is not among the WebUI's")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def expected():
    """The checkpoint over diffusers; None where nobody has named it."""
    from dragtext.sdk.model.load import load_model

    return load_model(CHECKPOINT, device="cpu", dtype="float32") if CHECKPOINT else None


def distance(one, other) -> float:
    one, other = (torch.as_tensor(given, dtype=torch.float64) for given in (one, other))
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("timestep", [1, 301, 701, 981])
def test_a_prediction_is_the_webuis_own_and_that_of_diffusers(client, expected, timestep):  # noqa: F811
    found = asked(client, timestep)
    print(f"{timestep}: {distance(found['ours'], found['theirs']):.1e} from the WebUI's denoiser")
    assert distance(found["ours"], found["theirs"]) < 2e-5
    if expected is None:
        return
    latent = torch.randn(1, 4, SIZE[0] // 8, SIZE[1] // 8, generator=torch.Generator().manual_seed(timestep))
    text = expected.encode_text(PROMPT, SIZE)
    assert (found["kind"], found["content"]) == (expected.prediction_type, text.content_length)
    with torch.no_grad():
        predicted = expected.predict(latent, timestep, text)
    print(f"{distance(found['tokens'], text.tokens):.1e}, {distance(found['ours'], predicted):.1e} from diffusers'")
    assert distance(found["tokens"], text.tokens) < 2e-5
    assert distance(found["ours"], predicted) < 2e-5


def test_a_lora_is_in_the_prediction_as_the_webui_has_it(client):  # noqa: F811
    """small-xl's of checkpoints.py, which changes both text encoders and the U-Net."""
    prompt = f"{PROMPT} <lora:small-xl-lora:0.8>"
    body = {"prompt": prompt, "size": SIZE, "timestep": 301, "seed": 301}
    answer = client.post("/dragtext-leaver/predict", json=body)
    if answer.status_code != 200:
        pytest.skip("the LoRA small-xl-lora is not among the WebUI's")
    found, plain = answer.json(), asked(client, 301)
    if "vector" not in plain["fixed"]:
        pytest.skip("the WebUI has no SDXL loaded")
    print(
        f"{distance(found['ours'], found['theirs']):.1e} from the WebUI's, {distance(found['ours'], plain['ours']):.2f}"
    )
    assert distance(found["ours"], found["theirs"]) < 2e-5
    assert distance(found["ours"], plain["ours"]) > 1e-2
    assert (torch.as_tensor(found["tokens"]) - torch.as_tensor(plain["tokens"])).abs().amax((0, 1)).gt(1e-4).all()


def test_a_long_prompt_is_cut_where_the_webui_cuts_it(client):  # noqa: F811
    found = asked(client, 301, "cat " * 80)
    tokens = torch.as_tensor(found["tokens"])
    assert tokens.shape[1] == 154
    assert found["content"] == 77 + 1 + 5
    assert distance(found["ours"], found["theirs"]) < 2e-5
