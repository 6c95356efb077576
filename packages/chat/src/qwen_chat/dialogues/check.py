"""Whether an answer is right, in any wording."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from qwen_chat.dialogues.dialogue import Target

_QUOTES = str.maketrans("“”„‘’", '"""\'\'')
_REFUSAL = re.compile(
    r"\b(?:sorry|can ?not|can't|could not|couldn't|unable|won't|will not|refuse)\b"
    r"|抱歉|对不起|不能|无法|不行|不可以|拒绝"
)


def meets(target: Target, answer: str) -> bool:
    """Whether an answer is right; see `Target`."""
    text = fold(answer, target.form == "exact")
    if (_REFUSAL.search(text.lower()) is not None) != (target.form == "refusal"):
        return False
    if any(holds(text, fold(bar)) for bar in target.bars):
        return False
    if target.form == "refusal":
        return True
    return _in_order(text, [fold(need, target.form == "exact") for need in target.needs])


@lru_cache(8192)
def fold(text: str, keep_case: bool = False) -> str:
    """Normalises widths, quotation marks and, unless kept, letter case."""
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    return text if keep_case else text.lower()


def holds(text: str, word: str) -> bool:
    """Latin words and numbers only as whole words."""
    return _word(word).search(text) is not None


@lru_cache(8192)
def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![a-zA-Z0-9]){re.escape(word)}(?![a-zA-Z0-9])")


def _in_order(text: str, needs: list[str]) -> bool:
    position = 0
    for need in needs:
        found = _word(need).search(text, position)
        if found is None:
            return False
        position = found.end()
    return True
