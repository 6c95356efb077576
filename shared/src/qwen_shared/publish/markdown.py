"""Markdown, and numbers for people."""

from __future__ import annotations

import re
from typing import Any

from qwen_shared.text import escape_control_characters

_MARKUP = re.compile(r"[\\`*\[\]~$!]|(?<!\w)_|_(?!\w)")
_NAME = re.compile(r"[\w .,:/=@+-]+")


def plain(text: str) -> str:
    """Text from elsewhere, such as file names and licences: one line without markup."""
    words = escape_control_characters(" ".join(text.split()))
    words = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    words = _MARKUP.sub(r"\\\g<0>", words)
    return re.sub(r"^(?=[-+#=])", r"\\", re.sub(r"^(\d+)([.)])", r"\1\\\2", words))


def code(text: str) -> str:
    """As code if it is an ordinary name, else as `plain` text."""
    return f"`{text}`" if _NAME.fullmatch(text) else plain(text)


def share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}\u00a0%"


def interval(low: float, high: float) -> str:
    """Of shares, on one line."""
    return f"{100 * low:.1f}\u00a0…\u00a0{100 * high:.1f}\u00a0%"


def size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def table(header: list[str], rows: list[list[Any]]) -> str:
    """Without its empty columns."""
    kept = [i for i in range(len(header)) if any(row[i] != "" for row in rows)]
    lines = [[line[i] for i in kept] for line in (header, ["---"] * len(header), *rows)]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return re.sub(r"[ \t\r\n]+", " ", str(value).replace("|", "\\|"))


def folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def fenced(text: str, language: str) -> str:
    """A code block whose fence is longer than any in the text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}{fence}"
