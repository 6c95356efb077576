"""The interface of all tokenizers."""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Protocol

import numpy as np

# {"role": …, "content": …}; other keys are ignored
Message = Mapping[str, str]


class Tokenizer(Protocol):
    vocab_size: int
    """All ids, special ones included, are in [0, vocab_size). A model may have more embedding rows."""
    special_tokens: dict[str, int]
    """Text and id of each special token."""
    eod_id: int
    """The token between documents (report, section 2)."""
    pad_id: int

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a generated turn or document."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of everything that decides ids: equal fingerprints give equal ids for every text."""
        ...

    def __hash__(self) -> int: ...

    def encode(self, text: str) -> list[int]:
        """Ids of `text` after normalisation (NFC for Qwen). No text produces a special id; lone surrogates become
        U+FFFD."""
        ...

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Text of `ids` without special tokens; `errors` as in `bytes.decode`. Raises ValueError for an id outside
        [0, vocab_size)."""
        ...

    def token_bytes(self, id: int) -> bytes:
        """UTF-8 bytes of one token, which may be partial characters; b"" for a special token."""
        ...

    def token_byte_lengths(self) -> np.ndarray:
        """`len(token_bytes(id))` of every id: int32 [V]."""
        ...

    def render(self, messages: Sequence[Message], add_generation_prompt: bool = False) -> tuple[list[int], list[int]]:
        """A conversation's ids and loss mask, by ChatML (report, section 5) or the model's chat template.

        The mask is 1 on the content and the closing token of assistant turns. With `add_generation_prompt` the ids end
        with the opening of an assistant turn. No role or content produces a special id. Raises UserError for a message
        without a role, or whose content is not a string.
        """
        ...

    def save_hf(self, directory: str | PathLike[str]) -> None:
        """Writes files for `transformers.AutoTokenizer`."""
        ...
