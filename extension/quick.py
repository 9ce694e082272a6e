"""How a drag would turn out, in a second or two: a warped start, denoised, without loop and LoRA."""

from __future__ import annotations

from ..sdk.settings import LOOP_SETTINGS, Settings, given_settings, make_settings

MOST_INFERENCE_STEPS = 20
# Guidance doubles the time of a result that is to be there at once.
NOT_TAKEN = {*LOOP_SETTINGS, "method", "start", "start_noise", "repaint", "guidance", "guidance_schedule"}


def quick_settings(asked: Settings) -> Settings:
    """The settings of the quick version of an edit."""
    kept = {name: value for name, value in given_settings(asked).items() if name not in NOT_TAKEN}
    steps = min(asked.inference_steps, MOST_INFERENCE_STEPS)
    return make_settings({**kept, "method": "warp", "lora_steps": 0, "inference_steps": steps})
