"""The letters that a text chooses."""

from __future__ import annotations

import re

_ONE = re.compile(
    r"^(?:(?:option|choice|answer|选项?|choose)\s*)?[(\[（【]?\s*([A-Ja-j])\s*[)\]）】]?[.,:;：。、]?$", re.IGNORECASE
)
_LABELLED = re.compile(
    r"^(?:\(([A-J])\)|\[([A-J])\]|([A-J])[.)](?=\s)|([A-J])[:：](?=\s)|([A-J])(?=[ \t][A-Z][a-z]))\s*(\S.*)$", re.DOTALL
)
_SEVERAL_LEAD = re.compile(r"^(?:options?|choices?|answers?|故选|应选|选择|选项?|答案)\s*[:：是为]?\s*", re.IGNORECASE)
_SEVERAL = re.compile(r"^\(?[A-J]\)?(?:\s*(?:,|and|&|;|、|，|和|或|or)?\s*\(?[A-J]\)?){1,6}$")
_CHOSEN = re.compile(
    r"(?:answer|option|choice|choose|select|pick|答案|选项?|选择|应选|故选)"
    r"\s*(?:is|are|was|must be|should be|would be|是|为|：|:)?\s*"
    r"(?:for sure|definitely|therefore|clearly|probably|option|choice"
    r"|indeed)?\s*[\s*:(\[\\{$]*(?:text\{)?[(]?([A-J])(?![A-Za-z'])|"
    r"\b(?:it's|it is|it must be|it should be|that's|is|be)\s+(?:therefore\s+|definitely\s+|option\s+"
    r"|choice\s+)?[\s*:(\[$]*([A-J])(?![A-Za-z'])",
    re.IGNORECASE,
)
_NEGATED = re.compile(
    r"(?:not|n't|不是|不选|never|cannot be|can't be|rule out)\s*(?:be\s+|the\s+|option\s+)?"
    r"[\s*:(\[$]*([A-J])(?![A-Za-z'])",
    re.IGNORECASE,
)
_FIRST = re.compile(r"^[\s*(\[$\\{]*(?!A\s(?!is\b|and\b|because\b|since\b)[a-z])([A-J])(?:[)\].:：。，,}$*]|\s|不|$)")
_COMMANDS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|textit|textnormal|boxed|rm|bf)\b\s*|[{}$*\\]")


def letters(text: str, any_case: bool = False) -> frozenset[str] | None:
    """The letters of a text that is only a choice: `(C)`, `\\text{C}`, `A and C`, `option B`; else None. A single
    small letter is a variable unless `any_case`.
    """
    text = _COMMANDS.sub("", text).strip().rstrip(".")
    if len(text) > 40:
        return None
    if match := _ONE.match(text):
        if match[1].islower() and len(text) == 1 and not any_case:
            return None  # a variable
        return frozenset(match[1].upper())
    text = _SEVERAL_LEAD.sub("", text)
    if _SEVERAL.match(text):
        found = re.findall("[A-J]", re.sub(r"and|or", "", text))
        apart = len(text) > len(found)  # AC is two choices, CA may be a product
        return frozenset(found) if len(set(found)) == len(found) and (apart or found == sorted(found)) else None
    return None


def labelled(text: str) -> tuple[str, str] | None:
    """The letter and the rest of `C. x = 42`, `(C) Cecile`."""
    plain = re.sub(r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{\s*(\(?[A-J]\)?[.:]?)\s*\}", r"\1 ", text.strip()).strip(
        "$ "
    )
    match = _LABELLED.match(plain)
    if match is None:
        return None
    letter = next(group for group in match.groups()[:5] if group)
    return letter, match[6].strip()


def chosen(text: str) -> str | None:
    """In a whole response."""
    text = _COMMANDS.sub("", text[-20_000:])
    negated = {match.start(1) for match in _NEGATED.finditer(text)}
    found = [
        (match[1] or match[2])
        for match in _CHOSEN.finditer(text)
        if (match.start(1) if match[1] else match.start(2)) not in negated and (match[1] or match[2]).isupper()
    ]
    if found:
        return found[-1]
    first = _FIRST.match(text)
    return first[1] if first else None
