"""Text from a model or a user, on its way to a terminal, without what the terminal would obey."""

from __future__ import annotations

_REPLACED = "\ufffd"
_TABLE = {
    **{code: 0x2400 + code for code in range(0x20)},  # control characters, ESC among them, by their pictures
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), _REPLACED),  # some terminals obey these like ESC sequences
    # What turns the direction of writing: text that is not what it looks like.
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], _REPLACED),
    **dict.fromkeys(range(0xD800, 0xE000), _REPLACED),  # cannot be written at all
    ord("\r"): None,  # would take the line back to its start
}
del _TABLE[ord("\n")], _TABLE[ord("\t")]


def escape_control_characters(text: str) -> str:
    """`text` with pictures in place of control characters other than tabs and line ends, so that no sequence of them
    moves the cursor, changes colours, titles or the clipboard, or hides what was written."""
    return text.translate(_TABLE)
