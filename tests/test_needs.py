"""What an edit needs of memory, by rules, against a count on the meta device."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from dragtext.sdk.evaluation.allocations import allocations
from dragtext.sdk.model.base import Conditioning, DecoderStage, UNetLayout
from dragtext.sdk.model.needs import outline
from dragtext.sdk.model.recompute import recomputed
from dragtext.sdk.model.taps import features_only, low_rank_adapter, projections

from .tiny import tiny_model, tiny_xl


def on_meta(model):
    """The U-Net's shapes alone, in half precision."""
    unet = copy.deepcopy(model.unet).to("meta", torch.float16)
    encoder = (unet.conv_in, *unet.down_blocks)
    stages = tuple(DecoderStage(block, (block,)) for block in unet.up_blocks)
    layout = UNetLayout(encoder, unet.mid_block, stages)

    def predict(latent, timestep, text):
        fixed = {name: value.half() for name, value in text.fixed.items()}
        steps = torch.full((len(latent),), timestep, device="meta")
        return unet(latent.half(), steps, text.tokens.half(), added_cond_kwargs=fixed, return_dict=False)[0].float()

    facts = {"device": torch.device("meta"), "dtype": torch.float16, "companions": (), "kept_beside": lambda: 0}
    return SimpleNamespace(unet=unet, layout=layout, predict=predict, computing=nullcontext, **facts)


def counted(model, text, side, items=1, block=None, tuned=False, again=False):
    """Bytes at most of a forward and a backward pass."""
    words = Conditioning(text.tokens.to("meta"), fixed={name: value.to("meta") for name, value in text.fixed.items()})
    latent = torch.empty(items, 4, side, side, device="meta", requires_grad=not tuned)
    words = words.with_tokens(words.tokens.expand(items, -1, -1))
    parameters = {
        path: tuple(
            torch.empty(shape, device="meta", requires_grad=True) for shape in ((2, p.in_features), (p.out_features, 2))
        )
        for path, p in (projections(model.unet).items() if tuned else ())
    }
    wanted = [part for pair in parameters.values() for part in pair] or [latent]
    way = recomputed(model) if again else nullcontext()
    with allocations() as found, way, low_rank_adapter(model.unet, parameters):
        passes = (lambda *inputs: features_only(model, *inputs, block)) if block else model.predict
        torch.autograd.grad(passes(latent, 500, words).sum(), wanted)
    return found.peak


FORMS = [({"block": 3}, 0.1), ({"tuned": True, "items": 2}, 0.1), ({"again": True}, 0.3)]


@pytest.mark.parametrize(
    ("kind", "forms"), [(tiny_model, [*FORMS, ({"again": True, "block": 3}, 0.3)]), (tiny_xl, FORMS)]
)
def test_the_rules_are_right_within_a_tenth(kind, forms):
    """Of what is kept; where blocks are computed again, what they hold at once decides, which is a rougher rule."""
    real = kind()
    model, text = on_meta(real), real.encode_text("")
    about = outline(model)
    assert about is not None
    for form, tolerance in forms:
        known = dict(form)
        stages = len(model.layout.stages) - 1 if known.pop("block", None) else None
        expected = about.graph(64 * 64, **known, stages=stages)
        assert expected == pytest.approx(counted(model, text, 64, **form), rel=tolerance), form
