"""Reads, filters and scrubs files, in parallel, and computes the hashes that find duplicates."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from code_qwen.corpus.content import decoded, rejection_reason
from code_qwen.corpus.duplicates import fingerprint, signature
from code_qwen.corpus.file import CodeFile, Dropped
from code_qwen.corpus.languages import language_named
from code_qwen.corpus.licences import is_allowed, licences_named, spdx_header
from code_qwen.corpus.order import python_imports
from code_qwen.corpus.scrub import scrubbed
from code_qwen.corpus.settings import Filters
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from rensa import RMinHash

_BATCH_BYTES = 1 << 20
_BATCH_FILES = 256
_POOL_FROM = 4 << 20  # bytes; for less, starting workers takes longer


@dataclass(frozen=True, slots=True)
class FilteredFile:
    """A scrubbed file that passed every filter except for duplicates."""

    file: CodeFile
    fingerprint: int
    signature: RMinHash | None
    imports: tuple[str, ...]
    secrets: dict[str, int]


class Filter:
    def __init__(self, filters: Filters):
        self.filters = filters
        self._licences = None if filters.licences is None else licences_named(filters.licences)
        self._languages = None if filters.languages is None else {language_named(name) for name in filters.languages}

    def by_name(self, file: CodeFile) -> Dropped | None:
        """Why to drop the file without reading it, or None."""
        if self._languages is not None and file.language not in self._languages:
            return self._dropped(file, "another language")
        if file.size > self.filters.max_bytes:
            return self._dropped(file, "too large")
        if file.size < self.filters.min_bytes:
            return self._dropped(file, "too small")
        return self._by_licence(file)

    def apply(self, file: CodeFile) -> FilteredFile | Dropped:
        """Apply the filters after `by_name`, reading the file if needed. A licence header replaces the folder's."""
        text = file.text
        if text is None:
            try:
                text, reason = decoded(Path(file.where).read_bytes())
            except OSError as error:
                text, reason = None, f"cannot be read: {error.strerror}"
            if text is None:
                return self._dropped(file, reason or "")
        else:
            text = replace_lone_surrogates(text).replace("\r\n", "\n")
        if header := spdx_header(text):
            file = replace(file, licence=header)
            if dropped := self._by_licence(file):
                return dropped
        if reason := rejection_reason(text, file.language, self.filters):
            return self._dropped(file, reason)
        text, secrets = scrubbed(text) if self.filters.scrub else (text, {})
        return FilteredFile(
            replace(file, text=text),
            fingerprint(text),
            signature(text) if self.filters.near_duplicate_threshold < 1 else None,
            tuple(python_imports(text, file.path)) if file.language == "Python" else (),
            secrets,
        )

    def _by_licence(self, file: CodeFile) -> Dropped | None:
        if self._licences is None:
            return None
        if not file.licence:
            return None if self.filters.unlicensed else self._dropped(file, "no licence")
        if is_allowed(file.licence, self._licences):
            return None
        return self._dropped(file, f"licence {file.licence[:40]}")

    def _dropped(self, file: CodeFile, reason: str) -> Dropped:
        return Dropped(reason, file.where, file.language, file.size)


def filter_files(
    files: Iterable[CodeFile], filters: Filters, workers: int | None = None
) -> Iterator[tuple[FilteredFile | Dropped, int]]:
    """Each file's result and size, in order for any number of `workers` (default: the CPUs of this process), with about
    4 MB of files in memory for each.
    """
    batches = _batches(files)
    workers = workers or _cpus()
    first: list[list[CodeFile]] = []
    size = 0
    for batch in batches:
        first.append(batch)
        size += sum(file.size for file in batch)
        if workers > 1 and size >= _POOL_FROM:
            break
        if workers == 1:
            yield from _filter_all(Filter(filters), first.pop())
    else:
        for batch in first:
            yield from _filter_all(Filter(filters), batch)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(filters,))
    try:
        running = deque(pool.submit(_in_worker, batch) for batch in first)
        del first
        while running:
            while len(running) < 2 * workers + 2 and (following := next(batches, None)):
                running.append(pool.submit(_in_worker, following))
            yield from running.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _batches(files: Iterable[CodeFile]) -> Iterator[list[CodeFile]]:
    batch: list[CodeFile] = []
    size = 0
    for file in files:
        batch.append(file)
        size += file.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _filter_all(filter: Filter, files: list[CodeFile]) -> list[tuple[FilteredFile | Dropped, int]]:
    return [(filter.apply(file), file.size) for file in files]


_filter: Filter | None = None


def _start_worker(filters: Filters) -> None:
    global _filter
    # Ctrl-C reaches every process of a terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _filter = Filter(filters)


def _end_with_parent() -> None:
    """Without this, workers would wait forever for a killed parent."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _in_worker(files: list[CodeFile]) -> list[tuple[FilteredFile | Dropped, int]]:
    assert _filter is not None
    return _filter_all(_filter, files)
