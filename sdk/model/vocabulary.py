"""The tokenizer of single files, which hold none: all of them use OpenAI CLIP's (assets/README.md)."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

MERGES = Path(__file__).parent / "assets" / "clip_merges.txt.gz"


def clip_tokenizer(pad_token: str) -> Any:
    """OpenAI's CLIP tokenizer (a CLIPTokenizer of 49408 words) from the merges that come with this package.

    pad_token: "<|endoftext|>" in Stable Diffusion 1.x, "!" in 2.x.
    """
    from transformers import CLIPTokenizer

    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()[1:]
    symbols = _byte_symbols()
    words = symbols + [f"{symbol}</w>" for symbol in symbols] + [merge.replace(" ", "") for merge in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    with tempfile.TemporaryDirectory() as folder:
        vocab = json.dumps({word: index for index, word in enumerate(words)}, ensure_ascii=False)
        Path(folder, "vocab.json").write_text(vocab, encoding="utf-8")
        Path(folder, "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
        config = {
            "tokenizer_class": "CLIPTokenizer",
            "model_max_length": 77,
            "do_lower_case": True,
            "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>",
            "pad_token": pad_token,
        }
        Path(folder, "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes of CLIP's byte-level BPE, in the order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(code) for code in printable] + [chr(256 + k) for k in range(256 - len(printable))]
