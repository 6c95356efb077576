"""Equations without annotation in a solution's text: `So he has 260 - 60 = 200 dogs`. Reads every character once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from math_qwen.equations import Check, check

MAX_TOKENS = 60  # of one equation

_TOKEN = re.compile(
    r"""
    (?P<number>[$£€¥]?(?:
        \d+(?:\ and)?\ \(?\$?\d+/\d+\)?(?![\d/.]) | \d{1,3}(?:[,\ ]\d{3})+(?:\.\d+)?(?![\d,/]) | \d+(?:\.\d+)? | \.\d+
    )%?)
    |(?P<sign>\*\*|[-+*/^×÷−–·] | [xX](?=\s?[($.\d]))
    |(?P<equals>=) |(?P<open>\() |(?P<close>\))
    |(?P<word>[A-Za-z'’]{2,}|\ba\b)
    |(?P<letter>[A-Za-z])
    |(?P<space>\s+)
    |(?P<other>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_SPELLING = str.maketrans({"x": "*", "X": "*", "×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})
_FRACTION = re.compile(r"(?<![\d/.])\d+/\d+(?![\d/.])")
_MIXED = re.compile(r"(\d+)(?: and)? \(?(\d+/\d+)\)?")


@dataclass(frozen=True)
class PlainEquation:
    """At `start:end` of a text. `annotation`: its `<<…>>` form, to be inserted at `right`, where the last number
    begins; None for percentages and mixed numbers, which have none.
    """

    start: int
    right: int
    end: int
    text: str
    check: Check
    has_units: bool
    annotation: str | None


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


def plain_equations(text: str) -> list[PlainEquation]:
    """The checked equations of a text without `<<…>>`.

    Up to three words between numbers are units and skipped ("2 hours * 30 miles = 60 miles"). `3x + 5 = 20`, with a
    letter, is none. Without spaces, both readings of `2 / 1/6` are tried; `$1 / 2 = 50 cents` is true, and 13 / 6 = 2
    is true beside the word "remainder".
    """
    tokens = [
        _Token(m.lastgroup or "", m.group(), m.start(), m.end())
        for m in _TOKEN.finditer(text)
        if m.lastgroup != "space"
    ]
    found = []
    at = 0
    while at < len(tokens):
        if tokens[at].kind not in ("number", "open"):
            at += 1
            continue
        end, whole = _run(tokens, at)
        if whole and _stands_alone(tokens, at, end):
            equation = _equation(text, tokens[at:end])
            if equation:
                found.append(equation)
        at = max(end, at + 1)
    return found


def _run(tokens: list[_Token], start: int) -> tuple[int, bool]:
    """(end, whether it holds an equation)."""
    end, depth, words, equals = start, 0, 0, 0
    operand = False
    at = start
    while at < min(len(tokens), start + MAX_TOKENS):
        token = tokens[at]
        if not operand and token.kind == "number":
            operand, words = True, 0
        elif token.kind == "open" and (not operand or (at and tokens[at - 1].end == token.start and not words)):
            operand = False
            depth += 1
        elif not operand and token.kind == "sign" and token.text in "-−–" and at > start:
            pass
        elif operand and token.kind == "close" and depth:
            depth -= 1
        elif operand and token.kind in ("sign", "equals") and not (depth and token.kind == "equals"):
            operand = False
            equals += token.kind == "equals"
        elif operand and token.kind == "word" and words < 3 and not depth and _are_units(tokens, at):
            words += 1
            at += 1
            continue
        else:
            break
        at += 1
        if operand and not depth:
            end = at
    return end, bool(equals) and end > start


def _are_units(tokens: list[_Token], at: int) -> bool:
    """Words are units if a sign or `=` follows within three words."""
    for token in tokens[at : at + 4]:
        if token.kind != "word":
            return token.kind in ("sign", "equals")
    return False


def _stands_alone(tokens: list[_Token], start: int, end: int) -> bool:
    before = tokens[start - 1] if start else None
    after = tokens[end] if end < len(tokens) else None
    if before and before.kind in ("sign", "close", "letter", "number"):
        return False
    if before and before.end == tokens[start].start and before.text in "%./,$<>":
        return False
    joins = before and (
        before.text in ("plus", "minus", "times") or (before.text == "and" and tokens[start + 1].text == "/")
    )
    if joins and start > 1 and tokens[start - 2].kind != "other":
        return False  # `12 x 1 and 1/4 = 15`
    if after and after.kind in ("number", "sign", "equals", "open", "letter"):
        return False
    return not (after and after.text in "./,:%…" and end + 1 < len(tokens) and tokens[end + 1].start == after.end)


def _equation(text: str, tokens: list[_Token]) -> PlainEquation | None:
    has_units = any(t.kind == "word" or re.match(r"0\d", t.text) for t in tokens)  # 0900 is a time
    tokens = [t for t in tokens if t.kind != "word"]
    while tokens and tokens[-1].kind in ("sign", "equals"):
        tokens.pop()
    equals = [i for i, t in enumerate(tokens) if t.kind == "equals"]
    if not equals or (
        not any(t.kind == "sign" for t in tokens[1 : equals[0]]) and tokens[1:2] and tokens[1].kind != "open"
    ):
        return None
    start, end = tokens[0].start, tokens[-1].end
    right = tokens[equals[-1] + 1].start
    right += len(text[right:end]) - len(text[right:end].lstrip("$£€¥"))
    pieces = [_MIXED.sub(r"(\1+\2)", t.text) for t in tokens]
    pieces = [p.replace(" ", "") for p in pieces]  # 100 000
    bare = "".join(p.lstrip("$£€¥") for p in pieces)
    # With spaces around signs, an unspaced 1/6 is one number.
    spaced = "".join(text[a.end : b.start][:1] + p for a, b, p in zip(tokens, tokens[1:], pieces[1:], strict=False))
    checked = _checked(bare, pieces[0] + spaced, text[end:], text)
    links = bare.split("=")
    simple = "%" not in bare and re.fullmatch(r"[\d.,]+", links[-1])
    annotation = f"{links[-2]}={links[-1]}".replace(",", "").translate(_SPELLING) if simple else None
    if annotation and not (check(annotation).ok and re.search(r"[-+*/^×÷x(]", links[-2])):
        annotation = None
    return PlainEquation(start, right, end, text[start:end], checked, has_units, annotation)


def _checked(bare: str, spaced: str, after: str, line: str) -> Check:
    result = check(bare)
    if result.ok or result.value is None:
        return result
    left, _, right = bare.rpartition("=")
    readings = [_FRACTION.sub(lambda m: f"({m.group()})", spaced)] if " " in spaced else []
    if "$" in line and re.match(r"\s?cents?\b", after):
        readings.append(f"({left})*100={right}")
    if "100%" in bare:
        readings.append(bare.replace("%", ""))
    for reading in readings:
        if check(reading).ok:
            return check(reading)
    if re.search(r"remain|left over|leftover", line) and right.isdigit() and "=" not in left:
        value = result.value
        if value.p // value.q == int(right):
            return Check(bare, True, "with a remainder", value)
    return result
