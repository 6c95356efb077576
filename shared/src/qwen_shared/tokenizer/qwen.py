"""Qwen's tokenizer (report, section 1): byte-level BPE by tiktoken, digits one by one, 208 special tokens."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import tiktoken

from qwen_shared.text import replace_lone_surrogates
from qwen_shared.tokenizer import hf_export
from qwen_shared.tokenizer.chatml import render_chatml
from qwen_shared.tokenizer.interface import Message
from qwen_shared.tokenizer.vocabulary import check_ranks

# No merge crosses these matches: contractions; letters with one leading non-letter; ONE digit; punctuation with its
# newlines; blank lines; spaces up to the one before the next word.
SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
END_OF_TEXT, IM_START, IM_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL_TOKENS = (END_OF_TEXT, IM_START, IM_END, *(f"<|extra_{i}|>" for i in range(205)))

# tiktoken's regular expressions give up after a million backtracking steps, which a million spaces reach. Runs of half
# a million spaces or more are therefore encoded here.
_SPACES = r"[\t\v\f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]"
_LONG_RUN = re.compile(rf"(?<!{_SPACES}){_SPACES}{{500000,}}+(?![\r\n])")


class QwenTokenizer:
    """`ranks` maps the bytes of every regular token to its id (see `check_ranks`); those of `qwen.tiktoken` give Qwen's
    ids. `name` is for messages."""

    def __init__(self, ranks: dict[bytes, int], name: str = "qwen"):
        check_ranks(ranks, name)
        self.name = name
        self.ranks = ranks
        self.special_tokens = {token: len(ranks) + i for i, token in enumerate(SPECIAL_TOKENS)}
        self.vocab_size = len(ranks) + len(SPECIAL_TOKENS)
        self.eod_id = self.pad_id = self.special_tokens[END_OF_TEXT]
        self.stop_ids = (self.special_tokens[IM_END], self.eod_id)
        self.fingerprint = _fingerprint(ranks, self.special_tokens)
        self._token_bytes = [*sorted(ranks, key=ranks.__getitem__), *([b""] * len(SPECIAL_TOKENS))]
        # tiktoken gets no special tokens, so no text can produce one.
        self._encoding = tiktoken.Encoding(name, pat_str=SPLIT_PATTERN, mergeable_ranks=ranks, special_tokens={})

    def __repr__(self) -> str:
        return f"QwenTokenizer({self.name!r}, vocab_size={self.vocab_size})"

    def encode(self, text: str) -> list[int]:
        if not text.isascii():
            text = unicodedata.normalize("NFC", replace_lone_surrogates(text))
        ids: list[int] = []
        while len(text) >= 500_000 and (run := _LONG_RUN.search(text)):
            # SPLIT_PATTERN matches such a run as one, without its last space if a word follows.
            end = run.end() if run.end() == len(text) else run.end() - 1
            ids += self._encoding.encode_ordinary(text[: run.start()])
            ids += self._encoding._encode_single_piece(text[run.start() : end])
            text = text[end:]
        return ids + self._encoding.encode_ordinary(text)

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        return b"".join([self.token_bytes(id) for id in ids]).decode("utf-8", errors)

    def token_bytes(self, id: int) -> bytes:
        if not 0 <= id < self.vocab_size:
            raise ValueError(f"token id {id} is outside the vocabulary of {self.vocab_size}")
        return self._token_bytes[id]

    def token_byte_lengths(self) -> np.ndarray:
        return np.array([len(token) for token in self._token_bytes], dtype=np.int32)

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
        im_start, im_end = self.special_tokens[IM_START], self.special_tokens[IM_END]
        return render_chatml(messages, add_generation_prompt, self.encode, im_start, im_end)

    def save_hf(self, directory: str | PathLike[str]) -> None:
        """See `Tokenizer.save_hf`, and `hf_export.save` for the differences."""
        hf_export.save(Path(directory), self.ranks, SPLIT_PATTERN, SPECIAL_TOKENS, eos=IM_END, pad=END_OF_TEXT)


def _fingerprint(ranks: dict[bytes, int], special_tokens: dict[str, int]) -> str:
    digest = hashlib.sha256(json.dumps([SPLIT_PATTERN, special_tokens]).encode())
    for token in sorted(ranks, key=ranks.__getitem__):
        digest.update(b"\n" + token.hex().encode())
    return digest.hexdigest()
