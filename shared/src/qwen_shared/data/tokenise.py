"""Tokenises documents in worker processes. Chunks are cut and written in reading order, so that token files do not
depend on the number of workers."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from qwen_shared.data.documents import Document
from qwen_shared.data.token_file import TokenFileWriter, token_ids

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

PARTS = ("train", "validation")

_CHUNK = 256 * 1024  # characters per task
_POOL_FROM = 1_000_000  # characters; for fewer, starting workers takes longer than the work

Chunk = tuple[str, list[Document]]  # part, documents


class Encoder(Protocol):
    """Turns a document into stored tokens. Pickled to workers."""

    def dtype(self, tokenizer: Tokenizer) -> np.dtype: ...

    def __call__(self, tokenizer: Tokenizer, document: Document) -> tuple[list[int], str | None]:
        """Ids or their complements, and a remark to count or None."""
        ...


@dataclass
class Tokens:
    """Several documents, encoded."""

    tokens: np.ndarray  # [T], one document after another
    lengths: list[int]
    num_bytes: int = 0  # of the documents' UTF-8 text
    remarks: dict[str, list] = field(default_factory=dict)  # remark → [number of documents, name of the first]


def write_parts(
    documents: Iterable[tuple[Document, bool]],
    directory: Path,
    encoder: Encoder,
    tokenizer: Tokenizer,
    tokenizer_source: str,
    workers: int | None,
) -> dict[str, dict[str, Any]]:
    """Writes the token files of each part; returns its documents, tokens, bytes, remarks and sha256."""
    dtype = encoder.dtype(tokenizer)
    num_bytes = dict.fromkeys(PARTS, 0)
    remarks: dict[str, dict[str, list]] = {part: {} for part in PARTS}
    with ExitStack() as stack:
        writers = {part: stack.enter_context(TokenFileWriter(directory / part, dtype)) for part in PARTS}
        for part, done in _tokenised(_chunks(documents), encoder, tokenizer, tokenizer_source, workers):
            writers[part].add(done.tokens, done.lengths)
            num_bytes[part] += done.num_bytes
            for remark, (count, name) in done.remarks.items():
                remarks[part].setdefault(remark, [0, name])[0] += count
    return {
        part: {
            "documents": writer.num_documents,
            "tokens": writer.num_tokens,
            "bytes": num_bytes[part],
            **({"remarks": remarks[part]} if remarks[part] else {}),
            "sha256": writer.sha256,
        }
        for part, writer in writers.items()
    }


def _chunks(documents: Iterable[tuple[Document, bool]]) -> Iterator[Chunk]:
    waiting: dict[str, list[Document]] = {part: [] for part in PARTS}
    sizes = dict.fromkeys(PARTS, 0)
    for document, held_out in documents:
        part = PARTS[held_out]
        waiting[part].append(document)
        sizes[part] += len(document.text)
        if sizes[part] >= _CHUNK:
            yield part, waiting[part]
            waiting[part], sizes[part] = [], 0
    for part in PARTS:
        if waiting[part]:
            yield part, waiting[part]


def _tokenised(
    chunks: Iterator[Chunk], encoder: Encoder, tokenizer: Tokenizer, tokenizer_source: str, workers: int | None
) -> Iterator[tuple[str, Tokens]]:
    workers = workers or _cpus()
    if workers == 1:
        for part, documents in chunks:
            yield part, _encode(encoder, tokenizer, documents)
        return
    first: list[Chunk] = []
    size = 0
    for part, documents in chunks:
        first.append((part, documents))
        size += sum(len(document.text) for document in documents)
        if size >= _POOL_FROM:
            break
    else:
        for part, documents in first:
            yield part, _encode(encoder, tokenizer, documents)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer_source, encoder),
    )
    try:
        running = deque((part, pool.submit(_encode_in_worker, documents)) for part, documents in first)
        del first
        while running:
            # Read ahead only as far as every worker has a next chunk: the corpus may not fit in memory.
            while len(running) < 2 * workers + 2 and (chunk := next(chunks, None)):
                running.append((chunk[0], pool.submit(_encode_in_worker, chunk[1])))
            part, future = running.popleft()
            yield part, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _encode(encoder: Encoder, tokenizer: Tokenizer, documents: list[Document]) -> Tokens:
    done = Tokens(np.empty(0, encoder.dtype(tokenizer)), [])
    parts = []
    for document in documents:
        tokens, remark = encoder(tokenizer, document)
        parts.append(np.array(tokens, done.tokens.dtype))
        done.lengths.append(len(tokens))
        if remark:
            done.remarks.setdefault(remark, [0, document.name])[0] += 1
    done.tokens = np.concatenate([done.tokens, *parts])
    done.num_bytes = int(_byte_lengths(tokenizer)[token_ids(done.tokens)].sum(dtype=np.int64))
    return done


@lru_cache(maxsize=1)
def _byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    return np.asarray(tokenizer.token_byte_lengths())


_worker: tuple[Encoder, Tokenizer] | None = None


def _start_worker(tokenizer_source: str, encoder: Encoder) -> None:
    global _worker
    from qwen_shared.tokenizer import load_tokenizer

    # Ctrl-C reaches all processes of a terminal; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = encoder, load_tokenizer(tokenizer_source)


def _end_with_parent() -> None:
    """Without this, the workers of a killed parent would wait for it forever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _encode_in_worker(documents: list[Document]) -> Tokens:
    assert _worker is not None
    return _encode(*_worker, documents)


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
