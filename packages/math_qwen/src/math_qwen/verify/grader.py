"""The verdict on two texts, in any process: extract, parse, compare. If only sympy can tell and there is no prover,
raises `NeedsProof`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from math_qwen.verify.comparison.rules import Rules
from math_qwen.verify.comparison.shapes import canonical
from math_qwen.verify.comparison.values import NeedsProof, Prover
from math_qwen.verify.extraction import Final, multiple_choice
from math_qwen.verify.extraction.response import final_answer
from math_qwen.verify.limits import STEPS, WORKER_STEPS, Exhausted, TooLarge, Unparsable, budget
from math_qwen.verify.parsing.normalise import normalised
from math_qwen.verify.parsing.parser import parse
from math_qwen.verify.parsing.text_answers import is_known_text, text_key
from math_qwen.verify.parsing.trees import Tree
from math_qwen.verify.verdict import Outcome, Verdict

_TIGHT_COMMA = re.compile(r"\d,\d{3}(?!\d)")
_DECIMAL_COMMA = re.compile(r"^[^\d,]{0,4}(\d+),(\d+)(?![\d,])[^\d,]*$")
_OUTER = re.compile(
    r"^(?:\\text|\\mathrm|\\textbf|\\mathbf|\\mbox|\\boxed|\\textit|\\textnormal|\\bf|\\fbox)\s*\{([^{}]*)\}$"
)
_GLUED_UNIT = re.compile(r"^(-?[\d,.]+)([mghsL])(\^\{?[23]\}?)?$")  # 5m
_SHORT = 60
_SENTENCE_LIKE = re.compile(
    r"[.:=$。：]|\b(?:is|are|was|were|has|have|equals|gets?|so|we)\b|[是为有得共]", re.IGNORECASE
)


def grade_response(gold: str, prediction: str, prover: Prover | None = None, shortcuts: bool = True) -> Verdict:
    """Both may be whole solutions."""
    budget.left = STEPS if prover is None else WORKER_STEPS
    if not prediction.strip():
        return Verdict(Outcome.WRONG, "empty response")
    gold, prediction = normalised(gold), normalised(prediction)
    gold_final, answer_final = _final(gold), _final(prediction)
    if gold_final.found_by == "last value" and len(gold) <= _SHORT and not _SENTENCE_LIKE.search(gold):
        gold_final = Final(gold_final.candidates[:1], "whole")  # `May 1, 2024` is no response that ends in 2024
    if not gold_final.candidates:
        return Verdict(Outcome.UNPARSABLE, "gold holds no answer")
    by_letter = _by_letter(gold_final, answer_final, prediction)
    if by_letter is not None:
        return by_letter
    if answer_final.denied and not _any_text(gold_final.candidates[0], answer_final.candidates):
        return Verdict(Outcome.WRONG, "the answer is denied")
    if not answer_final.candidates:
        return Verdict(Outcome.WRONG, "empty box" if answer_final.found_by == "box" else "no answer in the response")
    return _compare(gold_final, answer_final, Rules(prover, shortcuts))


def grade_answer(gold: str, prediction: str, prover: Prover | None = None, shortcuts: bool = True) -> Verdict:
    """Nothing is extracted."""
    budget.left = STEPS if prover is None else WORKER_STEPS
    gold, prediction = normalised(gold), normalised(prediction)
    if not gold.strip() or not prediction.strip():
        return Verdict(Outcome.WRONG, "empty answer")
    return _compare(Final((gold,), "whole"), Final((prediction,), "whole"), Rules(prover, shortcuts))


def _final(text: str) -> Final:
    found = final_answer(text)
    candidates = tuple(c for c in (_unwrapped(c) for c in found.candidates) if c)
    return Final(candidates, found.found_by, found.denied)


def _compare(gold_final: Final, answer_final: Final, rules: Rules) -> Verdict:
    golds, gold_text, trouble = _readings(gold_final, is_gold=True)
    answers, answer_text, other_trouble = _readings(answer_final, is_gold=False)
    if _text_equal(gold_text, answer_text) and (
        is_known_text(gold_text) or _same_letters(gold_text, answer_text, golds)
    ):
        return Verdict(Outcome.RIGHT, "the same text")
    if not golds or not answers:
        if not golds and _any_text(gold_text, answer_final.candidates):
            return Verdict(Outcome.RIGHT, "the same text")
        which, what = ("gold", trouble) if not golds else ("the answer", other_trouble)
        if golds and answer_text and not re.search(r"[\d\\=<>+*/^]", answer_text):
            return Verdict(Outcome.WRONG, f"{_short(answer_text)} is not {_short(gold_text)}")
        return Verdict(Outcome.UNPARSABLE, f"{which} cannot be read: {what}")
    if len(golds) == 1 and golds[0][0] == "text" and _any_text(gold_text, answer_final.candidates):
        return Verdict(Outcome.RIGHT, "the same text")
    undecided, too_large = False, ""
    for mine in golds:
        for yours in answers:
            try:
                if rules.same(mine, yours):
                    return Verdict(Outcome.RIGHT, _equals(gold_text, answer_text))
            except NeedsProof:
                undecided = True
            except Exhausted as error:
                if rules.prover is None:
                    raise NeedsProof from None
                return Verdict(Outcome.UNPARSABLE, str(error))
            except (TooLarge, RecursionError) as error:
                too_large = str(error) or "too deep"
            except Unparsable:
                continue
    if undecided:
        raise NeedsProof
    if too_large:
        return Verdict(Outcome.UNPARSABLE, f"not computed: {too_large[:80]}")
    return Verdict(Outcome.WRONG, rules.why or f"{_short(answer_text)} is not {_short(gold_text)}")


def _readings(final: Final, is_gold: bool) -> tuple[list[Tree], str, str]:
    """The trees and text of the first candidate that is mathematics, and the error if there is none."""
    trouble = ""
    fallback: tuple[list[Tree], str] | None = None
    for candidate in final.candidates:
        found: list[Tree] = []
        for text, thousands, comma in _spellings(candidate, is_gold, final.found_by):
            try:
                tree = parse(text, thousands, comma)
            except (Unparsable, TooLarge, RecursionError) as error:
                trouble = trouble or str(error)[:80] or "too deep"
                continue
            if tree not in found:
                found.append(tree)
        if any(_is_mathematics(tree) for tree in found):
            return [tree for tree in found if _is_mathematics(tree)], candidate, ""
        if found and fallback is None and len(candidate) < 200:
            fallback = (found, candidate)
    if fallback is not None:
        return *fallback, ""
    return [], final.candidates[0] if final.candidates else "", trouble or "nothing to read"


def _spellings(candidate: str, is_gold: bool, found_by: str) -> Iterator[tuple[str, bool, bool]]:
    """(text to parse, commas as thousands, comma as decimal point)"""
    text = _without_dollars(candidate)
    option = multiple_choice.labelled(candidate)
    if option is not None:
        rest = _without_dollars(option[1])
        if re.search(r"\d|[=\\]", rest):
            yield rest, True, False
            return
    comma = _DECIMAL_COMMA.match(text)
    if comma is not None and len(comma[2]) != 3 and (not is_gold or len(comma[2]) > 1):
        yield text, True, True
    yield text, True, False
    if not is_gold and (unit := _GLUED_UNIT.match(text)):
        yield f"{unit[1]} \\text{{{unit[2]}}}{unit[3] or ''}", True, False
    if found_by in ("phrase", "last value") and re.search(r"\d!$", text) and not is_gold:
        yield text[:-1], True, False  # an exclamation
    if _TIGHT_COMMA.search(text) and (not is_gold or re.search(r"[(\[{]", text)):
        yield text, False, False


def _without_dollars(text: str) -> str:
    """A single or escaped dollar is money and stays."""
    text = text.strip().removeprefix("=").lstrip()
    count = text.count("$") - text.count("\\$")
    if count and count % 2 == 0:
        text = re.sub(r"(?<!\\)\$", " ", text)
    if "\\(" in text or "\\[" in text:
        text = re.sub(r"\\[()]|\\\](?!\w)|\\\[(?!\d+(?:pt|em|mm|cm|ex)\])", " ", text)
    text = text.strip()
    while text.endswith(("\\", "~")) and not text.endswith("\\\\"):
        text = text[:-1].rstrip()
    return text.rstrip(" .,;:") if not text.endswith("...") else text


def _unwrapped(text: str) -> str:
    text = text.strip()
    for _ in range(4):
        inner = text
        count = text.count("$") - text.count("\\$")
        if len(text) > 1 and text[0] == "$" == text[-1] and text[-2] != "\\" and count in (2, 4):
            inner = text.strip("$").strip()
        elif match := _OUTER.match(text):
            inner = match[1].strip()
        elif len(text) > 1 and text[0] == text[-1] and text[0] in "\"'`":
            inner = text[1:-1].strip()
        if inner == text:
            break
        text = inner
    return text


def _is_mathematics(tree: Tree) -> bool:
    if tree[0] == "text":
        return False
    if tree[0] == "qty":
        return _is_mathematics(tree[1])
    if tree[0] in ("list", "and", "or"):
        return all(_is_mathematics(part) for part in tree[1])
    return True


def _same_letters(a: str, b: str, golds: list[Tree]) -> bool:
    """Case may differ in words, not in symbols."""
    if not golds or golds[0][0] == "text":
        return True
    strip = re.compile(r"[\s$]|\\(?:left|right|,|!|;|text|mathrm|mbox)|[{}.]")
    return strip.sub("", a) == strip.sub("", b) and canonical(golds[0])[0] != "text"


def _text_equal(a: str, b: str) -> bool:
    return bool(text_key(a)) and text_key(a) == text_key(b)


def _any_text(gold: str, candidates: tuple[str, ...]) -> bool:
    return any(_text_equal(gold, candidate) for candidate in candidates)


def _by_letter(gold_final: Final, answer_final: Final, response: str) -> Verdict | None:
    """None if this is no multiple choice."""
    gold = gold_final.candidates[0]
    want = multiple_choice.letters(gold)
    label = multiple_choice.labelled(gold)
    if want is None:
        if label is None:
            return None
        want = frozenset(label[0])
    for candidate in answer_final.candidates:
        got = multiple_choice.letters(candidate, any_case="(" in gold)
        if got is None and (option := multiple_choice.labelled(candidate)) is not None:
            got = frozenset(option[0])
            if label is not None and option[0] == label[0]:
                return Verdict(Outcome.RIGHT, f"option {label[0]}")
        if got is not None:
            if got == want:
                return Verdict(Outcome.RIGHT, f"option {''.join(sorted(want))}")
            if label is not None or len(want) > 1 or re.search(r"[()]|text", gold) or answer_final.found_by != "box":
                return Verdict(Outcome.WRONG, f"option {''.join(sorted(got))}, gold has {''.join(sorted(want))}")
            return None
    if answer_final.denied or answer_final.found_by == "box" or label is not None:
        return None
    letter = multiple_choice.chosen(response)
    if letter is None:
        return None
    if frozenset(letter) == want:
        return Verdict(Outcome.RIGHT, f"option {letter}")
    return Verdict(Outcome.WRONG, f"option {letter}, gold has {''.join(sorted(want))}")


def _equals(gold: str, answer: str) -> str:
    return "the same" if gold == answer else f"{_short(answer)} equals {_short(gold)}"


def _short(text: str) -> str:
    text = " ".join(text.split()).encode("utf-8", "replace").decode()
    return text if len(text) <= _SHORT else text[: _SHORT - 1] + "…"
