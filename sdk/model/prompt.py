"""What CLIP makes of a prompt: one text encoder as in Stable Diffusion 1.x and 2.x, or SDXL's two."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from .base import Conditioning

logger = logging.getLogger(__name__)

PROMPT_TOKENS = 75
TEXT_LENGTH = PROMPT_TOKENS + 2
SIZES = 6  # numbers that SDXL is told: original height and width, top and left of the crop, target height and width


def encode_prompt(encoder: Any, tokenizer: Any, prompt: str) -> Conditioning:
    """encoder: a CLIPTextModel, whose last hidden state is read."""
    length = _content_length(tokenizer, prompt)
    return Conditioning(encoder(_ids(encoder, tokenizer, prompt))[0].float(), length)


def encode_prompt_twice(
    first: tuple[Any, Any], second: tuple[Any, Any], prompt: str, size: tuple[int, int]
) -> Conditioning:
    """As SDXL's pipeline does: the penultimate hidden states side by side, the second encoder's pooled vector, sizes.

    first: CLIPTextModel and its tokenizer; second: CLIPTextModelWithProjection and its. size: (height, width) in
    pixels, told as the original's and the target's, without a crop. `fixed` has the names that the U-Net's
    `added_cond_kwargs` have.
    """
    length = _content_length(first[1], prompt)  # both tokenizers have one vocabulary, and so the same rows
    read = [
        encoder(_ids(encoder, tokenizer, prompt), output_hidden_states=True) for encoder, tokenizer in (first, second)
    ]
    tokens = torch.cat([output.hidden_states[-2].float() for output in read], dim=-1)  # (1, 77, D1 + D2)
    pooled = read[1].text_embeds.float()
    sizes = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32, device=tokens.device)
    return Conditioning(tokens, length, {"text_embeds": pooled, "time_ids": sizes})


def _ids(encoder: Any, tokenizer: Any, prompt: str) -> Tensor:
    """(1, 77) on the encoder's device."""
    found = tokenizer(prompt, padding="max_length", max_length=TEXT_LENGTH, truncation=True, return_tensors="pt")
    return found.input_ids.to(next(encoder.parameters()).device)


def _content_length(tokenizer: Any, prompt: str) -> int:
    """Rows of the start token and the prompt's own tokens; warns of what is cut off."""
    # Counted without the special tokens: an end token that somebody typed into the prompt is content, and
    # the real end of a full prompt sits at position 76.
    count = len(tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids)
    if count > PROMPT_TOKENS:
        logger.warning(
            "The prompt has %d tokens; the last %d were cut off, CLIP reads %d.",
            count,
            count - PROMPT_TOKENS,
            PROMPT_TOKENS,
        )
    return 1 + min(count, PROMPT_TOKENS)
