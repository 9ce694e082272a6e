"""Seconds of a whole edit by phase and its peak memory: the first drag on a picture, the next, and with parts left out.

    python benchmarks/edit.py                                    the embedded model
    python benchmarks/edit.py --model sd15 --device cuda         random weights of full size, float16 and float32
    python benchmarks/edit.py --model sdxl --device cuda --dtypes float16 --image-size 1024 --json

The published settings of DragDiffusion, with as many updates in every edit, by `Editor.drag`. "next" is another drag on
the same picture, for which encoding, LoRA and inversion are kept. Shares are the LoRA's part of an edit that has to fit
it. --edits chooses some. One iteration against the published loop is in benchmarks/iteration.py.
"""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from dragtext import sdk
from dragtext.sdk.evaluation.scenes import FIRST_UNSEEN_SEED
from dragtext.sdk.model.diffusers import DiffusersModel
from dragtext.sdk.result import EditResult
from memory import make_model

PHASES = ("encode", "identity", "invert", "drag", "denoise")
SIDES = {"embedded": 256, "sd15": 512, "sdxl": 1024}
# Edits in order, each with what it sets beside the published values: whatever an earlier one has paid is kept.
EDITS: dict[str, dict[str, Any]] = {
    "first": {},
    "next": {},
    "no mask": {},
    "no text": {"text": False},
    "published LoRA": {"identity": "published"},
    "no LoRA": {"lora_steps": 0},
    "held, no LoRA": {"lora_steps": 0, "hold_background": True, "mask_weight": 0.0},
}


def full_size(kind: str, device: torch.device, dtype: torch.dtype) -> DiffusersModel:
    """Random weights; the embedded model's tokenizer, whose vocabulary is CLIP's."""
    model, small = make_model(kind, device, dtype), sdk.load_model(device="cpu")
    assert isinstance(small, DiffusersModel)
    model.tokenizer = small.tokenizer
    if model.text_encoder_2 is not None:
        model.tokenizer_2 = small.tokenizer
    return model


def edits(model: Any, side: int, steps: int, names: Sequence[str]) -> dict[str, EditResult]:
    """Those of EDITS, after a short one on another picture that warms up."""
    pictures = np.random.default_rng(FIRST_UNSEEN_SEED).integers(0, 256, (2, side, side, 3), dtype=np.uint8)
    mask = np.zeros((side, side), bool)
    mask[side // 8 : -side // 8, side // 8 : -side // 8] = True
    # A point that is never there, so that every edit makes all its updates.
    same = {"method": "dragdiffusion", "steps": steps, "reach_distance": 1e-3, "memory": "full"}
    drag = [((side // 4, side // 4), (3 * side // 4, 3 * side // 4))]
    sdk.Editor(model, pictures[0], "a cat").drag(drag, mask=mask, **{**same, "steps": 2, "lora_steps": 2})
    editor, found = sdk.Editor(model, pictures[1], "a cat"), {}
    for name in names:
        gc.collect()
        found[name] = editor.drag(drag, mask=None if name == "no mask" else mask, **same, **EDITS[name])
    return found


def facts(result: EditResult) -> dict[str, float]:
    spent = {phase: result.timings.get(phase, 0.0) for phase in PHASES}
    return {**spent, "all": sum(spent.values()), "updates": result.steps, "peak_bytes": result.peak_memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=tuple(SIDES), default="embedded")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", help="separated by commas [float32; on a card float16,float32]")
    parser.add_argument("--image-size", type=int, help="side in pixels [256 embedded, 512 sd15, 1024 sdxl]")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--edits", nargs="+", choices=tuple(EDITS), default=tuple(EDITS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    device, side = torch.device(arguments.device), arguments.image_size or SIDES[arguments.model]
    names = (arguments.dtypes or ("float32" if device.type == "cpu" else "float16,float32")).split(",")
    told: dict[str, Any] = {"model": arguments.model, "image_size": side, "device": str(device)}
    if device.type == "cuda":
        told["card"] = torch.cuda.get_device_name(device)
    for name in names:
        if arguments.model == "embedded":
            model: Any = sdk.load_model(device=str(device), dtype=name)
        else:
            model = full_size(arguments.model, device, getattr(torch, name))
        told[name] = {
            edit: facts(result) for edit, result in edits(model, side, arguments.steps, arguments.edits).items()
        }
        del model
        gc.collect()
    if arguments.json:
        print(json.dumps(told))
        return
    print(", ".join(f"{key} {value}" for key, value in told.items() if not isinstance(value, dict)))
    for name in names:
        print(f"\n{name:<14}{''.join(f'{phase:>10}' for phase in PHASES)}{'all, s':>10}{'peak, GiB':>11}")
        for edit, found in told[name].items():
            numbers = "".join(f"{found[phase]:>10.2f}" for phase in (*PHASES, "all"))
            print(f"{edit:<14}{numbers}{found['peak_bytes'] / 2**30:>11.2f}")
        for edit, found in told[name].items():
            if found["identity"] > 0.01 * found["all"]:
                print(f"share of the LoRA, {edit}: {100 * found['identity'] / found['all']:.0f} %")


if __name__ == "__main__":
    main()
