"""Answers in words, and which of them mean the same."""

from __future__ import annotations

import re

_CJK_TEXT = {
    "是": "yes", "是的": "yes", "否": "no", "不是": "no", "对": "true", "正确": "true", "真": "true", "错": "false",
    "错误": "false", "不正确": "false", "假": "false", "奇数": "odd", "偶数": "even", "无解": "no solution",
    "无": "none", "星期一": "monday", "星期二": "tuesday", "星期三": "wednesday", "星期四": "thursday",
    "星期五": "friday", "星期六": "saturday", "星期日": "sunday", "星期天": "sunday", "一半": "half",
    "不存在": "does not exist", "周一": "monday", "周二": "tuesday", "周三": "wednesday", "周四": "thursday",
    "周五": "friday", "周六": "saturday", "周日": "sunday", "无穷": "infinity", "无穷大": "infinity", "不能": "no",
    "能": "yes", "可以": "yes", "不可以": "no",
}  # fmt: skip
_EQUAL_TEXT = {
    "no real solutions": "no solution", "no solutions": "no solution", "no real solution": "no solution",
    "there is no solution": "no solution", "no such number exists": "does not exist", "dne": "does not exist",
    "correct": "true", "incorrect": "false", "none of these": "none of the above",
    "there are no solutions": "no solution", "not defined": "undefined", "undef": "undefined",
    "无实数解": "no solution", "没有解": "no solution", "没有实数解": "no solution",
    "infinitely many": "infinitely many solutions", "无数解": "infinitely many solutions",
    "infinite solutions": "infinitely many solutions", "无穷多解": "infinitely many solutions",
    "无数个解": "infinitely many solutions", "first": "1st", "second": "2nd", "third": "3rd", "fourth": "4th",
    "fifth": "5th", "sixth": "6th", "seventh": "7th", "eighth": "8th", "ninth": "9th", "tenth": "10th",
}  # fmt: skip
_STOCK = frozenset(("does not exist", "no solution", "infinitely many solutions", "undefined"))
_ORDINAL = re.compile(r"(\d+)(?:st|nd|rd|th)")
_MONTH = re.compile(r"\b(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:[a-z]*uary|ch|il|ust|[a-z]*ber)?\b")
_REMAINDER = re.compile(r"(?<=\d)\s*(?:remainder|rem|余|r)\s*(?=\d)")
_NOISE = re.compile(r"""[\s\\${}()\[\].,;:!?"'`*。，；：！？“”]+""")
_ARTICLE = re.compile(r"^(?:(?:the|an|a|it is|it's|its|they are|is|on|in|at|by|option|choice) )+")
_TEXT_COMMAND = re.compile(
    r"\\(?:text|mathrm|mbox|textbf|textit|textnormal|mathbf|operatorname|boxed|rm|textsc|it|bf)\b"
)


def is_known_text(text: str) -> bool:
    key = text_key(text)
    return key in _STOCK or _ORDINAL.fullmatch(key) is not None


def text_key(text: str) -> str:
    """Answers that mean the same have one key: letters and digits, lower case, no articles."""
    text = _TEXT_COMMAND.sub("", text)
    key = _NOISE.sub(" ", text).strip().lower()
    key = _REMAINDER.sub(" r ", _ARTICLE.sub("", key))
    if _MONTH.search(key) and any(map(str.isdigit, key)):  # 5th June, June 5
        return " ".join(sorted(_ORDINAL.sub(r"\1", key).replace(" of ", " ").split()))
    key = _CJK_TEXT.get(key, key)
    return _EQUAL_TEXT.get(key, key)
