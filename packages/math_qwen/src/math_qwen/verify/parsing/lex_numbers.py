"""Numbers: grouped thousands, repeating decimals, powers of ten, other bases."""

from __future__ import annotations

import re
from fractions import Fraction

from math_qwen.verify.limits import DIGITS, TooLarge, Unparsable
from math_qwen.verify.parsing.tokens import Token

BASED = re.compile(
    r"\(?(?<![\w.])([0-9][0-9A-Za-z]*)\)?\s*_\s*(?:\{\s*\(?\s*(?:\\text\s*\{)?\s*([0-9]{1,2}"
    r"|[a-z]+)\s*\}?\s*\)?\s*\}|([0-9]))"
)
_BASE_WORDS = re.compile(r"([0-9][0-9A-Za-z]*)\s*(?:\(\s*)?(?:in )?base[ -]([0-9]{1,2}|[a-z]+)\s*\)?")
_BASE_NAMES = "two three four five six seven eight nine ten eleven twelve"
_BASES = dict(zip(_BASE_NAMES.split(), range(2, 13), strict=True)) | {"sixteen": 16}
_GAP = r"(?:,|\{\s*,\s*\}|,\s?\\!\s?|,\{\}|\\,|\\ |\\!|\{\\,\})"
_GROUPED = re.compile(rf"\d{{1,3}}(?:{_GAP}\d{{3}})+(?!\d)")
_LATEX_GROUPED = re.compile(r"\d{1,3}(?:(?:\{\s*,\s*\}|,\s?\\!\s?|,\{\}|\\,|\\!)\d{3})+(?!\d)")
_SPACED_GROUPS = re.compile(r"\d{1,3}(?: \d{3})+(?![\d/ ])")
_DOTTED_GROUPS = re.compile(r"\d{1,3}(?:\.\d{3}){2,}(?![\d.])")
_DIGITS = re.compile(r"\d+")
_FRACTION_PART = re.compile(r"\.(\d+)")
_BRACED_COMMA = re.compile(r"\{,\}(\d+)")
_REPEATING = re.compile(r"\\(?:overline|bar|dot|overset)\s*(?:\{\s*(\d+)\s*\}|(\d))|\((\d+)\)")
_DOTS = re.compile(r"(?:\\dot\s*\{?\s*(\d)\s*\}?\s*)(\d*)(?:\\dot\s*\{?\s*(\d)\s*\}?)?")
_ELLIPSIS = re.compile(r"\s?(?:\.\.\.+|\\[lc]?dots\b|…)")
_SCIENTIFIC = re.compile(r"[eE]([+-]?\d{1,6})(?![\dA-Za-z])")


def lex_number(text: str, place: int, found: list[Token], spaced: bool, thousands: bool, decimal_comma: bool) -> int:
    """Append the number at `place`; return its end."""
    start = place
    if "_" in text and (match := BASED.match(text, place)):
        found.append(Token("num", in_base(match[1], match[2] or match[3]), spaced, match[0]))
        return match.end()
    if "base" in text and (match := _BASE_WORDS.match(text, place)):
        found.append(Token("num", in_base(match[1], match[2]), spaced, match[0]))
        return match.end()
    whole = ""
    if text[place] != ".":
        match = None
        grouped = _GROUPED if thousands else _LATEX_GROUPED
        if not decimal_comma:
            match = grouped.match(text, place) or _DOTTED_GROUPS.match(text, place)
        if match is None and not found:
            match = _SPACED_GROUPS.match(text, place)
        if match is None:
            match = _DIGITS.match(text, place)
        assert match is not None  # a digit stands there
        whole, place = "".join(c for c in match[0] if c in "0123456789"), match.end()
    part = _FRACTION_PART.match(text, place)
    if part is None and (match := _BRACED_COMMA.match(text, place)):
        part = match
    if part is None and decimal_comma and text[place : place + 1] == "," and text[place + 1 : place + 2].isdigit():
        part = re.compile(r",(\d+)").match(text, place)
    digits = ""
    if part is not None:
        digits, place = part[1], part.end()
    if len(whole) + len(digits) > DIGITS:
        raise TooLarge("a number has too many digits")
    value = Fraction(int(whole + digits or 0), 10 ** len(digits))
    pointed = part is not None or (text[place : place + 1] == "." and _REPEATING.match(text, place + 1))
    if pointed:
        at = place if part is not None else place + 1
        repeat = ""
        if match := _REPEATING.match(text, at) if not text.startswith("\\dot", at) else None:
            repeat, place = match[1] or match[2] or match[3], match.end()
        elif text.startswith("\\dot", at) and not text.startswith("\\dots", at) and (match := _DOTS.match(text, at)):
            repeat, place = match[1] + ((match[2] + match[3]) if match[3] else ""), match.end()
        elif match := _ELLIPSIS.match(text, at):
            repeat, place = _period(digits), match.end()
            if not repeat:
                raise Unparsable("a decimal without a known period")
            value = Fraction(int((whole or "0") + digits), 10 ** len(digits))
            value += Fraction(int(repeat), 10 ** len(digits) * (10 ** len(repeat) - 1))
            repeat = ""
        if repeat:
            if len(repeat) + len(digits) > DIGITS:
                raise TooLarge("a number has too many digits")
            value += Fraction(int(repeat), 10 ** len(digits) * (10 ** len(repeat) - 1))
    if match := _SCIENTIFIC.match(text, place):
        power = int(match[1])
        if abs(power) > DIGITS:
            raise TooLarge("a number has too many digits")
        value *= Fraction(10) ** power
        place = match.end()
    found.append(Token("num", value, spaced, text[start:place]))
    return place


def in_base(digits: str, base: str) -> Fraction:
    """The value of digits in a base given as a number or a word. Raises Unparsable."""
    number = _BASES.get(base) or (int(base) if base.isdigit() else 0)
    if not 2 <= number <= 36 or len(digits) > DIGITS:
        raise Unparsable("a number in no known base")
    try:
        return Fraction(int(digits, number))
    except ValueError:
        raise Unparsable(f"{digits} has digits that base {number} has not") from None


def _period(digits: str) -> str:
    """The shortest period at the end, repeated three times, or twice if it has at least three digits; else ''."""
    for length in range(1, len(digits) // 2 + 1):
        times = 3 if length < 3 else 2
        if len(digits) >= times * length and digits.endswith(digits[-length:] * times):
            return digits[-length:]
    return ""
