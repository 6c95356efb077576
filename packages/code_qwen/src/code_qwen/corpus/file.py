"""A source file, kept or dropped."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of a tree or a row of a dataset. Without `text`, it is still to be read from the path `where`."""

    path: str  # within the repository, separated by /
    repository: str  # "" if unknown
    language: str | None
    licence: str | None  # SPDX expression
    where: str  # the file or row, for messages
    size: int  # bytes
    text: str | None = None
    held_out: bool | None = None  # None: decided by the text's hash


@dataclass(frozen=True, slots=True)
class Dropped:
    reason: str
    where: str
    language: str | None = None
    size: int = 0
