"""The captions' words: a CLIP-style tokenizer in which every one of them is a single token."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from dragtext.sdk.evaluation.scenes import make_scene
from transformers import CLIPTokenizer

LENGTH = 77
START, END = "<|startoftext|>", "<|endoftext|>"
_CAPTIONS = 3000  # that the words are collected from


def build_tokenizer(folder: Path) -> CLIPTokenizer:
    """Byte-level BPE whose merges are learnt from the captions until every word is one token; written to `folder`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols = [chr(code) for code in printable] + [chr(256 + k) for k in range(256 - len(printable))]
    merges = _merges(
        word
        for seed in range(_CAPTIONS)
        for word in re.findall(r"[a-z]+", make_scene(seed).describe(pose=True, places=True))
    )
    vocabulary = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(merge) for merge in merges]
    vocabulary += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    ids = {word: index for index, word in enumerate(vocabulary)}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    special = {"bos_token": START, **dict.fromkeys(("eos_token", "pad_token", "unk_token"), END)}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def _merges(words: Iterable[str]) -> list[tuple[str, str]]:
    """The most frequent pair of pieces becomes one piece, again and again, until no word has two."""
    counts = Counter(words)
    pieces = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter = Counter()
        for word, count in counts.items():
            for pair in zip(pieces[word], pieces[word][1:]):
                pairs[pair] += count
        if not pairs:
            return merges
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, parts in pieces.items():
            merged: list[str] = []
            for part in parts:
                if merged and (merged[-1], part) == best:
                    merged[-1] += part
                else:
                    merged.append(part)
            pieces[word] = merged


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Token to number, of a tokenizer's folder."""
    return json.loads((folder / "vocab.json").read_text(encoding="utf-8"))


def token_row(caption: str, ids: Mapping[str, int]) -> np.ndarray:
    """(77,) int16: what the tokenizer makes of a caption of known words, without its cost per call."""
    row = np.full(LENGTH, ids[END], np.int16)
    tokens = [ids[START], *(ids[word + "</w>"] for word in caption.split())]
    row[: len(tokens)] = tokens[: LENGTH - 1]
    return row
