"""Majority votes: which answers are the same, and whether the most frequent one is right."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

from math_qwen.evaluation.scoring import last_number

_COMPARED = 8  # most frequent spellings of a problem that are compared with each other

Vote = tuple[str, bool]  # an answer, and whether the verifier found it right


def majority_right(problems: Sequence[Sequence[Vote]]) -> list[bool]:
    """For each problem whether the answer with most votes is right (of equals, the first).

    All right answers are one answer. Wrong ones are the same if their spelling is or the verifier says so. A text
    without an answer does not vote.
    """
    spelled = [["right" if right else final_answer(text) for text, right in votes] for votes in problems]
    same = _same_spellings(spelled)
    found = []
    for names, alike in zip(spelled, same, strict=True):
        counts = Counter(alike.get(name, name) for name in names if name)  # in the order of their first votes
        found.append(bool(counts) and max(counts, key=lambda name: counts[name]) == "right")
    return found


def _same_spellings(spelled: list[list[str]]) -> list[dict[str, str]]:
    """For each problem: spelling → the more frequent spelling of the same answer."""
    from math_qwen.verify import verify_many

    asked: list[tuple[int, str, str]] = []
    for problem, names in enumerate(spelled):
        common = [name for name, _ in Counter(names).most_common(_COMPARED) if name not in ("", "right")]
        pairs = combinations(common, 2)
        # Two numbers in their one spelling are never the same.
        asked += [(problem, a, b) for a, b in pairs if not (_is_number(a) and _is_number(b))]
    same: list[dict[str, str]] = [{} for _ in spelled]
    for (problem, a, b), verdict in zip(asked, verify_many([(a, b) for _, a, b in asked]), strict=True):
        if verdict.outcome == "right" and b not in same[problem]:
            same[problem][b] = same[problem].get(a, a)
    return same


def final_answer(text: str) -> str:
    """The answer in a response, in one spelling, or "": the last box, else the text after the last `####` or "answer
    is", else the last number.
    """
    from math_qwen.prepare.boxed import last_box  # brings sympy, which a plan does not need

    answer = last_box(text)
    if answer is None:
        for mark in ("####", "答案是", "answer is", "答案为"):
            _, found, rest = text.rpartition(mark)
            if found:
                answer = rest.strip().partition("\n")[0]
                break
    if answer is None:
        number = last_number(text)
        return "" if number is None else _spelled(number)
    answer = re.sub(r"[\s$]|\\[,;! ]|\\(?:left|right)|[.。]$", "", answer).rstrip(".。").replace("\\dfrac", "\\frac")
    try:
        return _spelled(float(answer.replace(",", "")))
    except ValueError:
        return answer.casefold() if answer.isalpha() else answer


def _is_number(name: str) -> bool:
    try:
        float(name)
    except ValueError:
        return False
    return True


def _spelled(number: float) -> str:
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
