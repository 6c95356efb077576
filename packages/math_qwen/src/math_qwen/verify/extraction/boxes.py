"""The boxed answer of a response."""

from __future__ import annotations

import re

from math_qwen.verify.extraction import DENIED_BEFORE, Final
from math_qwen.verify.parsing.units import is_unit_letter, is_unit_word

_BOX = re.compile(r"\\(?:boxed|fbox|framebox|colorbox)(?![a-zA-Z])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_WRONG_BOX = re.compile(r"\b(?:wrong|incorrect|false)\s+\w+\s+(?:is|was|would\s+be)[\s$*\\(\[]*$", re.IGNORECASE)
_BOX_DENIED_BEHIND = re.compile(
    r"[\s$*)\]\\]*(?:is|was)\s+(?:wrong|incorrect|false|not\s+(?:the\s+(?:correct\s+|right\s+)?answer|correct|right|true))\b",
    re.IGNORECASE,
)
_UNIT_BEHIND_BOX = re.compile(
    r"^[ \t]*(?:\$\$?|\\\)|\\\])?[ \t]*(?:\\(?:text|mathrm|mbox)\{\s*)?(\\?%|\\degree\b|\^\s*\{?\\circ\}?"
    r"|(?:square |cubic |sq )?[A-Za-z]+|[\u4e00-\u9fff]{1,4})"
    r"(\s*\^\s*\{?[23]\}?)?"
)
_GAP_WORDS = re.compile(r"[A-Za-z]+")
_BREAKS = frozenset(
    [
        "so", "then", "therefore", "thus", "hence", "wait", "no", "actually", "simplifies", "simplify", "means",
        "gives", "final", "answer", "instead", "but", "not", "is", "which", "since", "because", "correct", "corrected",
        "equals", "equal",
    ]
)  # fmt: skip
_CONNECTIVE = re.compile(r"\b(?:and|or)\b|和|或|以及|[,;，；、]")
_LABEL_BEFORE = re.compile(r"([A-Za-z](?:_\{?[A-Za-z0-9]{1,3}\}?)?)\s*=\s*\$?\s*$")


def boxes(text: str) -> Final | None:
    """The last box with those joined to it by `and`, `or` or a comma, and its unit."""
    starts = [match.end() for match in _BOX.finditer(text)]
    if not starts:
        return None
    ends = _matching(text)
    found: list[tuple[int, int, str]] = []  # start of the command, end, content
    for match in _BOX.finditer(text):
        begin = match.end()
        while begin < len(text) and text[begin] in " \t\n":
            begin += 1
        if begin < len(text) and text[begin] == "{":
            end = ends.get(begin)
            if end is None:  # never closed: take the line
                line = text[begin + 1 :].split("\n", 1)[0]
                found.append((match.start(), begin + 1 + len(line), line.rstrip(" .$\\])")))
                break
            if found and match.start() < found[-1][1]:
                continue  # a box in a box
            found.append((match.start(), end + 1, text[begin + 1 : end]))
        else:
            bare = re.match(r"\s*(-?[\w.,/]+)", text[match.end() :][:80])
            if bare:
                found.append((match.start(), match.end() + bare.end(), bare[1]))
    if not found:
        return None
    group = [found[-1]]
    for box in reversed(found[:-1][-20:]):
        if not found[-1][2].strip() or not _joined(text[box[1] : group[0][0]]):
            break
        group.insert(0, box)
    first = group[0]
    before = text[max(0, first[0] - 60) : first[0]]
    if DENIED_BEFORE.search(before) or _WRONG_BOX.search(before) or _BOX_DENIED_BEHIND.match(text, group[-1][1]):
        return Final((), "box", denied=True)
    if len(group) == 1:
        content = first[2].strip()
        if not content:
            return Final((), "box")
        return Final((content + _unit_behind(text, first[1], content),), "box")
    labels = [_LABEL_BEFORE.search(text[max(0, box[0] - 30) : box[0]]) for box in group]
    parts = [
        f"{label[1]} = {box[2].strip()}" if label else box[2].strip() for label, box in zip(labels, group, strict=True)
    ]
    return Final((", ".join(parts),), "box")


def _matching(text: str) -> dict[int, int]:
    """Opening brace to closing brace; escaped ones do not count."""
    stack: list[int] = []
    ends: dict[int, int] = {}
    for match in _BRACE.finditer(text):
        if match[0] == "{":
            stack.append(match.start())
        elif match[0] == "}" and stack:
            ends[stack.pop()] = match.start()
    return ends


def _joined(gap: str) -> bool:
    """Whether two boxes with `gap` between them are one answer."""
    if len(gap) > 90 or "\n\n" in gap or re.search(r"[.。!?！？]\s", gap):
        return False
    bare = re.sub(r"\\(?:text|quad|qquad|mathrm|mbox|[()\[\],;! ])|[{}$\s]", " ", gap)
    words = [word.lower() for word in _GAP_WORDS.findall(bare)]
    if any(word in _BREAKS for word in words) or "=" in re.sub(r"[A-Za-z](?:_\w+)?\s*=\s*$", "", bare.rstrip()):
        return False
    if re.search(r"\bto\b|为|是|得", gap):
        return False
    if not words and not re.search(r"[\u4e00-\u9fff]", bare):
        symbols = bare.replace(" ", "")
        return symbols in ("", ",", ";", "、", ".") or (len(symbols) > 1 and len(set(symbols)) == 1)
    return len(words) <= 6 and _CONNECTIVE.search(gap) is not None


def _unit_behind(text: str, end: int, content: str) -> str:
    match = _UNIT_BEHIND_BOX.match(text[end : end + 60])
    if match is None:
        return ""
    unit = match[1].strip()
    if unit in ("%", "\\%"):
        return "" if "%" in content else "\\%"
    if unit.lower() in ("percent", "pct", "percentage") and "%" not in content and "perc" not in content:
        return "\\%"
    if unit.startswith(("\\degree", "^")):
        return "" if "circ" in content or "degree" in content else "^\\circ"
    words = unit.split(" ")
    if len(unit) == 1 and is_unit_letter(unit) and "{" in match[0] and "text" not in content:
        return f" \\text{{{unit}}}{match[2] or ''}"
    if len(words[-1]) > 1 and is_unit_word(words[-1]) and words[-1].lower() not in ("in", "times", "day", "a", "cup"):
        if re.search(
            r"\\text|\\mathrm|[A-Za-z]{2,}", content.replace("frac", "").replace("sqrt", "").replace("\\pi", "")
        ):
            return ""
        power = match[2] or ""
        return f" \\text{{{unit}}}{power}"
    return ""
