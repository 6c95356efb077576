"""The padding id: never one that ends answers, because transformers finds an answer's end by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from qwen_shared.files import write_atomic
from qwen_shared.tokenizer import Tokenizer


def padding_id(tokenizer: Tokenizer, end_id: int) -> int:
    """The tokenizer's padding id, unless answers end with it; else another special one."""
    specials = (tokenizer.pad_id, tokenizer.eod_id, *sorted(tokenizer.special_tokens.values()))
    return next((id for id in specials if id != end_id), 0 if end_id else 1)


@dataclass(frozen=True)
class PaddedBy:
    """A tokenizer to save with another padding id."""

    tokenizer: Tokenizer
    pad_id: int

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    def save_hf(self, directory: str | PathLike[str]) -> None:
        self.tokenizer.save_hf(directory)
        names = {id: name for name, id in self.tokenizer.special_tokens.items()}
        if self.pad_id == self.tokenizer.pad_id or self.pad_id not in names:
            return
        for path in (Path(directory, name) for name in ("tokenizer_config.json", "special_tokens_map.json")):
            if path.is_file():
                said = json.loads(path.read_text(encoding="utf-8")) | {"pad_token": names[self.pad_id]}
                write_atomic(path, json.dumps(said, ensure_ascii=False, indent=2) + "\n")
