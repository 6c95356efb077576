"""What every tokenizer of the house can do. Models, data and generation know this interface and nothing below it."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Protocol

import numpy as np

# One turn of a conversation: {"role": …, "content": …}; other keys are ignored.
Message = Mapping[str, str]


class Tokenizer(Protocol):
    vocab_size: int
    """Regular and special ids together; every id lies in [0, vocab_size). Model rows may be padded beyond it."""
    special_tokens: dict[str, int]
    """Surface form of each special token and its id."""
    eod_id: int
    """Stands between documents (report section 2)."""
    pad_id: int

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a generated turn or document."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 in hex over everything that decides ids; equal fingerprints give equal ids for every text."""
        ...

    def __hash__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Ids of ``text`` after the vocabulary's own normalisation; NFC for Qwen's.

        No text produces a special id; a lone surrogate becomes U+FFFD.
        """
        ...

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Text of ``ids``. Special tokens contribute nothing; ``errors`` is that of ``bytes.decode``.

        Raises ValueError for an id outside [0, vocab_size).
        """
        ...

    def token_bytes(self, id: int) -> bytes:
        """The UTF-8 bytes of one token, perhaps not whole characters; b"" for a special token."""
        ...

    def token_byte_lengths(self) -> np.ndarray:
        """``len(token_bytes(id))`` for every id: int32 [vocab_size], to turn losses into bits per byte."""
        ...

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
        """A conversation as ids and a loss mask of the same length, by ChatML (report section 5) or a model's template.

        The mask is 1 on the content and the closing special token of assistant turns, else 0. With
        ``add_generation_prompt`` the ids end with the opening of an assistant turn. No role and no content produces a
        special id. Raises UserError for a message without a role or with content that is not a string.
        """
        ...

    def save_hf(self, directory: str | PathLike[str]) -> None:
        """Writes the files from which ``transformers.AutoTokenizer`` gives the same ids."""
        ...
