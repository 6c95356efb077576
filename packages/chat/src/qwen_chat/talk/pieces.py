"""What a model says, in pieces as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


def trimmed(pieces: Iterable[str]) -> Iterator[str]:
    """The pieces of a text without white space at its ends. Pieces stay as many; one may become empty."""
    begun, held = False, ""
    for piece in pieces:
        text = held + piece if begun else piece.lstrip()
        body = text.rstrip()
        begun = begun or bool(body)
        held = text[len(body) :]
        yield body
