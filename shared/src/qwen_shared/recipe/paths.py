"""Checks of paths in a recipe."""

from __future__ import annotations

from pathlib import Path

from qwen_shared.errors import UserError
from qwen_shared.recipe.keys import nearest

_NAMED = ("default", "dashscope")


def check_tokenizer(tokenizer: str) -> None:
    """Raises UserError unless `tokenizer` is a known name or an existing path."""
    if tokenizer in _NAMED or Path(tokenizer).exists():
        return
    near = nearest(tokenizer, _NAMED)
    raise UserError(
        f"tokenizer={tokenizer}: no such file or directory; the names are {' and '.join(_NAMED)}"
        + (f"; nearest: '{near}'" if near else "")
    )
