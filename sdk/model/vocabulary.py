"""The tokenizer of single files, which hold none: all of them use OpenAI CLIP's (assets/README.md)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

MERGES = Path(__file__).parent / "assets" / "clip_merges.txt.gz"
START, END = "<|startoftext|>", "<|endoftext|>"
_PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def clip_tokenizer(pad_token: str) -> Any:
    """OpenAI's CLIP tokenizer (49408 words) from the merges that come with this package; made in memory.

    pad_token: "<|endoftext|>" in Stable Diffusion 1.x and SDXL's first encoder, "!" in 2.x and the second.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary, merges = clip_vocabulary()
    tokenizer = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(first, second) for first, second in (merge.split(" ") for merge in merges)],
            continuing_subword_prefix="",
            end_of_word_suffix="</w>",
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, vocabulary[END]), (START, vocabulary[START]), trim_offsets=False, add_prefix_space=False
    )
    # Older transformers take the special tokens given below for plain text where they stand in a prompt.
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in (START, END)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=77,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=pad_token,
    )


def clip_vocabulary() -> tuple[dict[str, int], list[str]]:
    """{word: number} of all 49408 words, and the merges in their order."""
    merges = gzip.decompress(MERGES.read_bytes()).decode("utf-8").splitlines()[1:]
    symbols = _byte_symbols()
    words = symbols + [f"{symbol}</w>" for symbol in symbols] + [merge.replace(" ", "") for merge in merges]
    return {word: index for index, word in enumerate([*words, START, END])}, merges


def clip_tokenizer_files() -> dict[str, str]:
    """{name: content} of a folder from which transformers loads CLIP ViT-L/14's tokenizer and text config."""
    vocabulary, merges = clip_vocabulary()
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    kind = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True}
    config = {
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "vocab_size": len(vocabulary),
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "projection_dim": 768,
        "bos_token_id": vocabulary[START],
        "eos_token_id": vocabulary[END],
        "pad_token_id": vocabulary[END],
    }
    return {
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
        "tokenizer_config.json": json.dumps({**kind, **special}, indent=2),
        "special_tokens_map.json": json.dumps(special, indent=2),
        "config.json": json.dumps(config, indent=2),
    }


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins for bytes of CLIP's byte-level BPE, in the order of the vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(code) for code in printable] + [chr(256 + k) for k in range(256 - len(printable))]
