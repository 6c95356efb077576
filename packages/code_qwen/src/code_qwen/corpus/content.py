"""Rejects files by content: generated, minified or data rather than code."""

from __future__ import annotations

import re

from code_qwen.corpus.settings import Filters

_HEAD_LINES = 10
_GENERATED = re.compile(
    r"do not (?:edit|modify|change)(?! this (?:line|section|block))|@generated|auto[- ]?generated|"
    r"automatically (?:generated|created)|machine[- ]generated|"
    r"^\W*(?:this |the )?(?:file |code |source )*(?:is |was |has been )?generated (?:by|from|with|using|on)\b",
    re.I | re.M,
)
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")
_WEB = ("JavaScript", "TypeScript", "CSS", "HTML")


def decoded(content: bytes) -> tuple[str | None, str | None]:
    """(text with line feeds, None), or (None, why it is not text)."""
    if b"\0" in content:
        return None, "binary"
    try:
        text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError:
        return None, "not UTF-8"
    return text.replace("\r\n", "\n"), None


def rejection_reason(text: str, language: str | None, filters: Filters) -> str | None:
    """The first reason to drop this text, or None."""
    if "\0" in text:
        return "binary"
    if _GENERATED.search("\n".join(text[:4000].splitlines()[:_HEAD_LINES])):
        return "generated"
    lengths = [len(line) for line in text.split("\n")]
    if len(lengths) > 1 and not lengths[-1]:
        del lengths[-1]
    if sum(lengths) > filters.max_mean_line_length * len(lengths):
        return "minified" if language in _WEB else "long lines on average"
    if max(lengths) > filters.max_line_length:
        return "a long line"
    if len(_NOT_ALPHANUMERIC.sub("", text)) < filters.min_alphanumeric * len(text):
        return "few letters and digits"
    return None
