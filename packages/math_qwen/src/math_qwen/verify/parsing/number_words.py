"""Number words, English and Chinese, as digits."""

from __future__ import annotations

import re
from fractions import Fraction

_ONES = dict(
    zip(
        [
            "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
        ],
        range(20),
        strict=True,
    )
)  # fmt: skip
_TENS = dict(
    zip(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], range(20, 100, 10), strict=True)
)
_SCALES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8,
    "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10,
}  # fmt: skip
_NUMBER_WORD = re.compile(r"[a-z]+(?:[ -]+[a-z]+){0,12}", re.IGNORECASE)
_CJK_DIGITS = dict(zip("零〇一二两三四五六七八九", (0, 0, 1, 2, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))
_CJK_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10**4, "亿": 10**8}
_CJK_NUMBER = re.compile("^(?:负)?[零〇一二两三四五六七八九十百千万亿点分之又]+$")


def spell_out(text: str) -> str:
    """`twenty-five apples` → `25 apples`."""
    chinese = chinese_number(text)
    if chinese is not None:
        return chinese
    match = _NUMBER_WORD.match(text)
    if match is None:
        return text
    words = re.split(r"[ -]+", match[0].lower())
    count, value = _leading_number(words)
    if not count:
        return text
    rest = re.split(r"[ -]+", match[0])[count:]
    spelled = str(value) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
    return " ".join([spelled, *rest]) + text[match.end() :]


def chinese_number(text: str) -> str | None:
    """三分之一 → 1/3, 百分之五 → 5%, 二十五 → 25, 三点一四 → 3.14, 一又二分之一 → 1+1/2; else None."""
    if text.startswith("百分之") and len(text) < 40:
        rest = text[3:]
        if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", rest):
            return rest + "%"
        value = _chinese_value(rest)
        return None if value is None else f"{value}%"
    if re.fullmatch("[0-9]+分之[0-9]+", text) and len(text) < 40:
        low, high = text.split("分之")
        return f"{high}/{low}"
    if text == "一半":
        return "1/2"
    if len(text) > 40 or not _CJK_NUMBER.match(text):
        return None
    if "又" in text:
        whole, _, part = text.partition("又")
        a, b = chinese_number(whole), chinese_number(part)
        return None if a is None or b is None else f"{a}+{b}"
    if "分之" in text:
        low, _, high = text.partition("分之")
        a, b = _chinese_value(low), _chinese_value(high)
        return None if a is None or b is None or a == 0 else f"{b}/{a}"
    return _chinese_value(text)


def _leading_number(words: list[str]) -> tuple[int, Fraction]:
    """(words used, value) of `two thirds`, `one and a half`, …"""
    if words[0] in ("a", "an", "one") and len(words) > 1 and words[1] in ("half", "quarter", "third"):
        return 2, Fraction(1, _PARTS[words[1]])
    if words[0] == "half":
        return 1, Fraction(1, 2)
    if words[0] == "dozen":
        return 1, Fraction(12)
    count, total, group = 0, 0, 0
    for word in words:
        if word in _ONES:
            group += _ONES[word]
        elif word in _TENS:
            group += _TENS[word]
        elif word == "hundred" and count:
            group = max(group, 1) * 100
        elif word in _SCALES and count:
            total, group = total + max(group, 1) * _SCALES[word], 0
        elif word == "and" and count and count + 1 < len(words) and words[count + 1] in (*_ONES, *_TENS, "a"):
            pass
        else:
            break
        count += 1
    if not count:
        return 0, Fraction(0)
    value = Fraction(total + group)
    rest = words[count:]
    if rest and rest[0] in _PARTS and rest[0].endswith("s"):
        return count + 1, value / _PARTS[rest[0]]
    if rest and rest[0] in _PARTS and value == 1:
        return count + 1, value / _PARTS[rest[0]]
    if words[count - 1] == "and":
        if len(rest) >= 2 and rest[0] == "a" and rest[1] in ("half", "quarter", "third"):
            return count + 2, value + Fraction(1, _PARTS[rest[1]])
        return count - 1, value
    if rest and rest[0] == "dozen":
        return count + 1, value * 12
    return count, value


def _chinese_value(text: str) -> str | None:
    negative = text.startswith("负")
    text = text.removeprefix("负")
    whole, dot, fraction = text.partition("点")
    if not whole or any(c not in _CJK_DIGITS and c not in _CJK_SCALES for c in whole):
        return None
    if all(c in _CJK_DIGITS for c in whole):
        value = int("".join(str(_CJK_DIGITS[c]) for c in whole))
    else:
        value = section = digit = 0
        for character in whole:
            if character in _CJK_DIGITS:
                digit = _CJK_DIGITS[character]
            elif character in "万亿":
                value = (value + section + digit) * _CJK_SCALES[character]
                section = digit = 0
            else:
                section += (digit or 1) * _CJK_SCALES[character]
                digit = 0
        value += section + digit
    spelled = str(value)
    if dot:
        if not fraction or any(c not in _CJK_DIGITS for c in fraction):
            return None
        spelled += "." + "".join(str(_CJK_DIGITS[c]) for c in fraction)
    return ("-" if negative else "") + spelled
