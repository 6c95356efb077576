"""The preference score: the number of an answer's style features in their favoured state, if it is right."""

from __future__ import annotations

import re

from qwen_chat.dialogues.check import fold, meets
from qwen_chat.dialogues.dialogue import Dialogue, Target
from qwen_chat.dialogues.style import read_style

WRONG, BROKEN = -1.0, -2.0

_LONGEST = 250  # characters; twice the longest reference answer
_SENTENCE_END = re.compile(r"[.!?。！？}\n]+")
_STUCK = re.compile(r"(.{2,}?)(?:\s*\1){2,}")  # the same three times in a row
_CLOSED = re.compile(r"""[.!?。！？}\])"'”’》*]\Z""")


def right(dialogue: Dialogue, answer: str) -> bool:
    return meets(dialogue.target, answer)


def preference_score(dialogue: Dialogue, answer: str) -> float:
    """0 to 4 for a right answer: its favoured features. -1 for a wrong one; -2 if empty, unfinished, endless or
    repetitive.
    """
    return score(dialogue.target, answer)


def score(target: Target, answer: str) -> float:
    if is_broken(target, answer):
        return BROKEN
    return float(read_style(target, answer).score) if meets(target, answer) else WRONG


def is_broken(target: Target, answer: str) -> bool:
    text = fold(answer).strip()
    if not text or len(text) > _LONGEST or "<|" in text or "\ufffd" in text or _STUCK.search(text):
        return True
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(text)]
    said = [sentence for sentence in sentences if sentence]
    if any(said.count(sentence) > (1 if len(sentence) > 5 else 2) for sentence in said):
        return True
    last = (target.core, *target.needs)
    return not _CLOSED.search(text) and not any(word and text.endswith(fold(word)) for word in last)
