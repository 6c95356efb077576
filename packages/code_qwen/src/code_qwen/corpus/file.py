"""A file of code on its way into the corpus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeFile:
    """One file of a tree, or one row. `text` is None where it is still to be read from the path `where`."""

    path: str  # within the repository, with /
    repository: str  # "" where unknown
    language: str | None
    licence: str | None  # SPDX expression
    where: str  # the file or row, for messages
    size: int  # bytes
    text: str | None = None
    held_out: bool | None = None  # None: left to the text's hash


@dataclass(frozen=True, slots=True)
class Dropped:
    """A file, a row or a whole folder that is left out."""

    reason: str
    where: str
    language: str | None = None
    size: int = 0
