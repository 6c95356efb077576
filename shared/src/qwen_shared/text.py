"""Text from outside, made safe: for a terminal, and for UTF-8."""

from __future__ import annotations

_REPLACED = "\ufffd"
_TABLE = {
    **{code: 0x2400 + code for code in range(0x20)},  # pictures of control characters, ESC among them
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), _REPLACED),  # some terminals treat these like ESC sequences
    # Changes of writing direction, which can disguise text.
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], _REPLACED),
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACED),  # surrogates cannot be encoded
    ord("\r"): None,  # would overwrite the line
}
del _TABLE[ord("\n")], _TABLE[ord("\t")]


def escape_control_characters(text: str) -> str:
    """Pictures for control characters except tabs and line ends: text cannot steer the terminal or hide itself."""
    return text.translate(_TABLE)


def replace_lone_surrogates(text: str) -> str:
    """`text` with surrogate pairs joined to their character and lone surrogates (JSON's `\\ud800`) as U+FFFD."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
