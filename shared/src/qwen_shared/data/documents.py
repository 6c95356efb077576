"""Documents, and the readers that yield them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FileIdentity = tuple[str, int, int]  # path, bytes, mtime in ns; for the cache key

FILE_END = "\0"


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its name for error messages. `held_out` None: the text's hash decides."""

    text: str
    name: str
    held_out: bool | None = None


@dataclass(frozen=True)
class SourceReader:
    """Reads the documents of one source.

    Packages may give their own readers to `prepare`. Their documents may be several files joined by FILE_END, which no
    file contains: each file gets its own end of document, and they are shuffled as one.
    """

    read: Callable[[Meter], Iterator[Document]]  # the same order on every machine
    settings: Mapping[str, Any]  # what decides the documents besides `files`; JSON
    files: Callable[[], list[FileIdentity]] = list  # called before and after reading
    report: Callable[[], Mapping[str, Any]] | None = None  # after reading; saved as corpus.json


class Meter:
    """Progress of reading, in bytes of input. `total` None: unknown."""

    def __init__(self, report: Callable[[int, int | None], None] | None = None):
        self.total: int | None = None
        self.done = 0
        self._report = report
        self._reported_at = 0.0

    def at(self, done: int) -> None:
        """Reports at most ten times a second."""
        self.done = done
        if self._report and time.monotonic() - self._reported_at > 0.1:
            self._reported_at = time.monotonic()
            self._report(done, self.total)
