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


def distance(one, other) -> float:
    one, other = (torch.as_tensor(given, dtype=torch.float64) for given in (one, other))
    return float((one - other).abs().max() / other.abs().max())


@pytest.mark.parametrize("timestep", [1, 301, 701, 981])
def test_a_prediction_is_the_webuis_own_and_that_of_diffusers(client, timestep):  # noqa: F811
    found = asked(client, timestep)
    print(f"{timestep}: {distance(found['ours'], found['theirs']):.1e} from the WebUI's denoiser")
    assert distance(found["ours"], found["theirs"]) < 2e-5
    if not CHECKPOINT:
        return
    from dragtext.sdk.model.load import load_model

    model = load_model(CHECKPOINT, device="cpu", dtype="float32")
    latent = torch.randn(1, 4, SIZE[0] // 8, SIZE[1] // 8, generator=torch.Generator().manual_seed(timestep))
    text = model.encode_text(PROMPT, SIZE)
    assert (found["kind"], found["content"]) == (model.prediction_type, text.content_length)
    assert abs(found["last"] - float(model.alphas_cumprod[-1])) < 1e-6
    with torch.no_grad():
        expected = model.predict(latent, timestep, text)
    print(f"{distance(found['tokens'], text.tokens):.1e}, {distance(found['ours'], expected):.1e} from diffusers'")
    assert distance(found["tokens"], text.tokens) < 2e-5
    assert distance(found["ours"], expected) < 2e-5


def test_a_long_prompt_is_cut_where_the_webui_cuts_it(client):  # noqa: F811
    found = asked(client, 301, "cat " * 80)
    tokens = torch.as_tensor(found["tokens"])
    assert tokens.shape[1] == 154
    assert found["content"] == 77 + 1 + 5
    assert distance(found["ours"], found["theirs"]) < 2e-5
