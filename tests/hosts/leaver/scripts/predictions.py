"""For tests only: POST /dragtext-leaver/predict, what DragText predicts over this WebUI's model, and what it does.

Both from one latent: DragText's as in an edit, the WebUI's by the denoiser that its samplers call, turned back into
what the U-Net predicts. In float64, as lists.
"""

import re
import sys

import torch
from modules import prompt_parser, script_callbacks, shared


def predict(body: dict):
    from dragtext.extension.hosts.detect import detect

    host = detect()
    with host.turn("dragtext-leaver"):
        return host.call(lambda: compare(host, body))


def compare(host, body):
    prompt, (height, width), step = body["prompt"], body["size"], body["timestep"]
    latent = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(body["seed"]))
    with host.lend(prompt, 0.7) as model, torch.no_grad():
        said = re.sub("<[^>]*>", "", prompt).strip()  # networks are active as long as the model is lent
        text = model.encode_text(prompt, (height, width))
        ours = model.predict(latent, step, text)
        # Of the plain schedule, in which the WebUI's denoisers find a timestep again.
        alpha = plain_alphas()[step].double().to(latent.device)
        sigma = ((1 - alpha) / alpha).sqrt()
        found = denoised((latent / alpha.sqrt()).float(), sigma.float()[None], said, height, width).double()
        signal, noise = alpha.sqrt(), (1 - alpha).sqrt()
        clean, given = found, latent.double()
        if model.prediction_type == "v_prediction":
            theirs = (signal * given - clean) / noise
        else:
            theirs = (given - signal * clean) / noise
        told = {name: value.tolist() for name, value in text.fixed.items()}
        return {
            "ours": ours.tolist(), "theirs": theirs.tolist(), "tokens": text.tokens.tolist(), "fixed": told,
            "content": text.content_length, "kind": model.prediction_type, "last": float(model.alphas_cumprod[-1]),
        }  # fmt: skip


def plain_alphas():
    objects = getattr(shared.sd_model, "forge_objects", None)
    if objects is None:
        return shared.sd_model.alphas_cumprod_original
    return objects.unet.model.predictor.alphas_cumprod.clone()


def denoised(x, sigma, prompt, height, width):
    model = shared.sd_model
    told = model.get_learned_conditioning(prompt_parser.SdConditioning([prompt], width=width, height=height))
    objects = getattr(model, "forge_objects", None)
    if objects is not None:
        more = {"y": told["vector"].clone()} if isinstance(told, dict) else {}
        told = told["crossattn"] if isinstance(told, dict) else told
        unet = objects.unet.model
        return unet.apply_model(x, sigma, c_crossattn=told.clone(), transformer_options={}, **more)
    from modules import sd_samplers

    denoiser = sd_samplers.create_sampler("Euler", model).model_wrap_cfg.inner_model
    given = told if isinstance(told, dict) else {"c_crossattn": [told], "c_concat": []}
    return denoiser(x, sigma, cond=given)


def add_routes(_page, app):
    app.add_api_route("/dragtext-leaver/predict", predict, methods=["POST"])


if "dragtext" in sys.modules:
    script_callbacks.on_app_started(add_routes)
