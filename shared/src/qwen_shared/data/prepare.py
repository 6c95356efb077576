"""From text to token files, once: tokenised in parallel, kept under a key of everything that decides the result."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import platform
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qwen_shared.data.cache import build_once
from qwen_shared.data.check import HF, STDLIB, check_sources
from qwen_shared.data.documents import Document, FileIdentity, Meter
from qwen_shared.data.sources import read_documents, source_identity
from qwen_shared.data.split import Split
from qwen_shared.data.token_file import TokenFileWriter, token_dtype
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data, Source

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

FORMAT = 2  # raised whenever the same settings and files would give other token files
PARTS = ("train", "validation")

_CHUNK = 256 * 1024  # characters that a worker gets at once
_POOL_FROM = 1_000_000  # characters; below this, starting workers takes longer than the work

Progress = Callable[[int, int | None, str], None]  # bytes done, bytes in all or None, the source's name


@dataclass(frozen=True)
class PreparedSource:
    """A source's token files. `dataclasses.asdict` gives JSON, `PreparedSource(**json)` takes it back."""

    name: str
    directory: str
    meta: dict[str, Any]  # meta.json: per part documents, tokens, bytes (UTF-8, as tokenised) and sha256 of the .bin
    weight: float

    @property
    def train(self) -> Path:
        """Prefix of the training part's .bin and .idx."""
        return Path(self.directory, "train")

    @property
    def validation(self) -> Path:
        return Path(self.directory, "validation")


def prepare(
    data: Data,
    tokenizer_source: str,
    cache_dir: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    for_training: bool = True,
) -> list[PreparedSource]:
    """Token files of every source in `cache_dir/<key>/`, built where they are not there yet.

    The key covers the source, its files' sizes and times, the tokenizer and the settings, so nothing stale is found;
    seq_length is no part of it. The files do not depend on `workers` (default: the CPUs this process may use). A
    source's weight is the recipe's, or the number of its training tokens.

    Raises UserError for sources that cannot be read and where the cache cannot be written; `for_training`, also for a
    training part that is empty or has fewer than seq_length + 1 tokens.
    """
    from qwen_shared.tokenizer import load_tokenizer

    check_sources(data)
    tokenizer = load_tokenizer(tokenizer_source)
    prepared = []
    for source in data.sources:
        directory = _prepare_source(data, source, tokenizer_source, tokenizer, cache_dir, progress, workers)
        meta = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
        weight = source.weight if source.weight is not None else float(meta["train"]["tokens"])
        prepared.append(PreparedSource(source.path, str(directory), meta, weight))
    for source in prepared if for_training else []:
        _check_size(source, data.seq_length)
    return prepared


def _prepare_source(
    data: Data,
    source: Source,
    tokenizer_source: str,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Progress | None,
    workers: int | None,
) -> Path:
    files = source_identity(source)
    settings = _settings(data, source)
    key = _key(settings, files, tokenizer)

    def build(directory: Path) -> None:
        meter = Meter(progress and (lambda done, total: progress(done, total, source.path)))
        split = Split(data.validation_share, data.validation_max_bytes)
        chunks = _chunks(split(read_documents(data, source, meter)))
        parts = _write_parts(chunks, directory, tokenizer, tokenizer_source, workers)
        if source_identity(source) != files:
            raise UserError(f"data source {source.path}: changed while it was being read; start again")
        meta = {
            "format": FORMAT,
            "source": settings,
            "tokenizer": {
                "source": tokenizer_source,
                "fingerprint": tokenizer.fingerprint,
                "vocab_size": tokenizer.vocab_size,
                "eod_id": tokenizer.eod_id,
            },
            **parts,
            "copies_dropped": split.copies_dropped,
            "file_bytes": {p.name: p.stat().st_size for p in sorted(directory.glob("*.*")) if p.stem in PARTS},
        }
        _write_synced(directory / "meta.json", json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        if progress:
            progress(meter.done, meter.total, source.path)

    directory = cache_dir / key
    try:
        build_once(directory, build, _is_whole)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise
        raise UserError(
            f"data cache {cache_dir}: cannot be written: {error.strerror}; mend that, or set another QWEN_CACHE"
        ) from None
    return directory


def _settings(data: Data, source: Source) -> dict[str, Any]:
    """What decides the token files besides the input's contents and the tokenizer."""
    settings: dict[str, Any] = {
        "path": source.path,
        "validation_share": data.validation_share,
        "validation_max_bytes": data.validation_max_bytes,
        "documents": data.documents,
    }
    if source.path == STDLIB:
        settings["python"] = platform.python_version()
    else:
        settings["text_key"] = source.text_key
    if source.path.startswith(HF):
        settings |= {"config": source.config, "split": source.split}
    return settings


def _key(settings: dict[str, Any], files: list[FileIdentity], tokenizer: Tokenizer) -> str:
    # A file's identity holds its whole path; how the recipe wrote it does not matter then.
    named = settings["path"] if settings["path"] == STDLIB or not files else None
    parts = {**settings, "path": named, "files": files, "tokenizer": tokenizer.fingerprint, "format": FORMAT}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _is_whole(directory: Path) -> bool:
    """All files there, of the size they were written with. Contents are not read again."""
    try:
        meta = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
        return all((directory / name).stat().st_size == size for name, size in meta["file_bytes"].items())
    except (OSError, ValueError, KeyError):
        return False


def _check_size(source: PreparedSource, seq_length: int) -> None:
    tokens, documents = source.meta["train"]["tokens"], source.meta["train"]["documents"]
    if not tokens:
        held = source.meta["validation"]["documents"]
        raise UserError(
            f"data source {source.name}: nothing is left to train on, all {held} documents are held out; "
            "lower data.validation_share or give more documents"
        )
    if tokens < seq_length + 1:
        raise UserError(
            f"data source {source.name}: {tokens} training tokens in {documents} documents are fewer than "
            f"data.seq_length + 1 = {seq_length + 1}; give more text, or at most data.seq_length={tokens - 1}"
        )


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


# Documents ► chunks of one part ► workers ► files. Chunks are cut and written in reading order, so the files do not
# depend on who tokenises what.

Chunk = tuple[str, list[str]]  # part, texts


def _chunks(documents: Iterable[tuple[Document, bool]]) -> Iterator[Chunk]:
    texts: dict[str, list[str]] = {part: [] for part in PARTS}
    sizes = dict.fromkeys(PARTS, 0)
    for document, held_out in documents:
        part = PARTS[held_out]
        texts[part].append(document.text)
        sizes[part] += len(document.text)
        if sizes[part] >= _CHUNK:
            yield part, texts[part]
            texts[part], sizes[part] = [], 0
    for part in PARTS:
        if texts[part]:
            yield part, texts[part]


def _write_parts(
    chunks: Iterator[Chunk], directory: Path, tokenizer: Tokenizer, tokenizer_source: str, workers: int | None
) -> dict[str, dict[str, Any]]:
    """Writes both parts; returns documents, tokens, bytes and sha256 of each."""
    dtype = token_dtype(tokenizer.vocab_size)
    byte_lengths = np.asarray(tokenizer.token_byte_lengths())
    num_bytes = dict.fromkeys(PARTS, 0)
    with ExitStack() as stack:
        writers = {part: stack.enter_context(TokenFileWriter(directory / part, dtype)) for part in PARTS}
        for part, tokens, lengths in _tokenised(chunks, tokenizer, tokenizer_source, workers):
            writers[part].add(tokens, lengths)
            num_bytes[part] += int(byte_lengths[tokens].sum(dtype=np.int64))
    return {
        part: {
            "documents": writer.num_documents,
            "tokens": writer.num_tokens,
            "bytes": num_bytes[part],
            "sha256": writer.sha256,
        }
        for part, writer in writers.items()
    }


Tokens = tuple[np.ndarray, list[int]]  # tokens of several documents one after another [T], and how many each has


def _tokenised(
    chunks: Iterator[Chunk], tokenizer: Tokenizer, tokenizer_source: str, workers: int | None
) -> Iterator[tuple[str, np.ndarray, list[int]]]:
    """(part, tokens, lengths) of every chunk, in order."""
    workers = workers or _cpus()
    if workers == 1:
        for part, texts in chunks:
            yield part, *_encode(tokenizer, texts)
        return
    first: list[Chunk] = []
    size = 0
    for part, texts in chunks:
        first.append((part, texts))
        size += sum(map(len, texts))
        if size >= _POOL_FROM:
            break
    else:
        for part, texts in first:
            yield part, *_encode(tokenizer, texts)
        return
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(tokenizer_source,),
    )
    try:
        running = deque((part, pool.submit(_encode_in_worker, texts)) for part, texts in first)
        del first
        while running:
            # Read ahead only so far that every worker has its next chunk: the corpus need not fit in memory.
            while len(running) < 2 * workers + 2 and (chunk := next(chunks, None)):
                running.append((chunk[0], pool.submit(_encode_in_worker, chunk[1])))
            part, future = running.popleft()
            yield part, *future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _encode(tokenizer: Tokenizer, texts: list[str]) -> Tokens:
    documents = [[*tokenizer.encode(text), tokenizer.eod_id] for text in texts]
    lengths = [len(document) for document in documents]
    tokens = np.empty(sum(lengths), token_dtype(tokenizer.vocab_size))
    at = 0
    for document in documents:
        tokens[at : at + len(document)] = document
        at += len(document)
    return tokens, lengths


_worker_tokenizer: Tokenizer | None = None


def _start_worker(tokenizer_source: str) -> None:
    global _worker_tokenizer
    from qwen_shared.tokenizer import load_tokenizer

    # Ctrl-C reaches every process of a terminal; the one that reads decides what to do about it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_tokenizer = load_tokenizer(tokenizer_source)


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers, and they would wait for it forever."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


def _encode_in_worker(texts: list[str]) -> Tokens:
    assert _worker_tokenizer is not None
    return _encode(_worker_tokenizer, texts)


def _cpus() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
