"""What every source yields: one document of text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

FileIdentity = tuple[str, int, int]  # path, bytes, mtime in ns: what a cache key knows of an input file


@dataclass(frozen=True, slots=True)
class Document:
    """One text with a name for error messages. `held_out` is None where the split is left to the text's hash."""

    text: str
    name: str
    held_out: bool | None = None


@dataclass(frozen=True)
class BuiltIn:
    """Conversations that a package makes itself, under the name of a source."""

    read: Callable[[], Iterable[tuple[Sequence[Mapping[str, str]], bool]]]  # (messages, held out?)
    identity: str  # of everything that decides them


FILE_END = "\0"


@dataclass(frozen=True)
class TextReader:
    """Texts that a package reads in its own way, under the path of a source.

    `read` yields them and tells the meter how far it has come. A text may be several files that stay together, with
    FILE_END between them: each gets its own end of document, and they are shuffled as one. No file holds that
    character.
    """

    read: Callable[[Meter], Iterator[Document]]
    files: Callable[[], list[FileIdentity]]  # asked before and after reading
    settings: Mapping[str, Any]  # what decides the texts besides those files, as JSON
    report: Callable[[], Mapping[str, Any]]  # of the last reading: kept beside the token files as corpus.json


class Meter:
    """How far reading has come, in bytes of input; `total` is None where it cannot be known."""

    def __init__(self, report: Callable[[int, int | None], None] | None = None):
        self.total: int | None = None
        self.done = 0
        self._report = report
        self._reported_at = 0.0

    def at(self, done: int) -> None:
        """Reading stands at byte `done`. Told on at most ten times a second."""
        self.done = done
        if self._report and time.monotonic() - self._reported_at > 0.1:
            self._reported_at = time.monotonic()
            self._report(done, self.total)
