"""From text to token files, once: tokenised in parallel, kept under a key of everything that decides the result."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.data import conversations, sources
from qwen_shared.data.cache import build_once
from qwen_shared.data.check import check_sources
from qwen_shared.data.documents import BuiltIn, FileIdentity, Meter, TextReader
from qwen_shared.data.split import Split
from qwen_shared.data.tokenise import PARTS, write_parts
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Source, TrainingData
from qwen_shared.recipe.sft_schema import ConversationSource, SftData

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

FORMAT = 2  # raised whenever the same settings and files would give other token files

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
    data: TrainingData,
    tokenizer_source: str,
    cache_dir: Path,
    progress: Progress | None = None,
    workers: int | None = None,
    for_training: bool = True,
    builtin: Mapping[str | Source, BuiltIn | TextReader] | None = None,
) -> list[PreparedSource]:
    """Token files of every source in `cache_dir/<key>/`, built where they are not there yet.

    Documents are texts, or conversations where `data` is that of supervised fine-tuning (`data.conversations` says how
    those are stored). `builtin` makes the conversations, or reads the texts, of sources that are not read here: by
    their path, or by the source itself where its other keys count too.

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
        made = (builtin or {}).get(source) or (builtin or {}).get(source.path)
        directory = _prepare_source(data, source, made, tokenizer_source, tokenizer, cache_dir, progress, workers)
        meta = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
        weight = source.weight if source.weight is not None else float(meta["train"]["tokens"])
        prepared.append(PreparedSource(source.path, str(directory), meta, weight))
    for source in prepared if for_training else []:
        _check_size(source, None if isinstance(data, SftData) else data.seq_length)
    return prepared


def find_prepared(
    data: TrainingData,
    source: Source | ConversationSource,
    tokenizer: Tokenizer,
    cache_dir: Path,
    made: BuiltIn | TextReader | None = None,
) -> dict[str, Any] | None:
    """meta.json of a source's token files, None where they have not been made yet. Raises UserError as `prepare` does
    for files that are not there."""
    directory = cache_dir / _key(*_identity(data, source, made), tokenizer)
    return json.loads((directory / "meta.json").read_text(encoding="utf-8")) if _is_whole(directory) else None


def _identity(
    data: TrainingData, source: Source | ConversationSource, made: BuiltIn | TextReader | None
) -> tuple[dict[str, Any], list[FileIdentity]]:
    """What decides a source's texts: settings, and files."""
    kind = conversations if isinstance(data, SftData) else sources
    settings = {
        "path": source.path,
        "validation_share": data.validation_share,
        "validation_max_bytes": data.validation_max_bytes,
        "documents": data.documents,
        **kind.settings(data, source, made),
    }
    return settings, kind.source_identity(data, source, made)


def _prepare_source(
    data: TrainingData,
    source: Source | ConversationSource,
    made: BuiltIn | TextReader | None,
    tokenizer_source: str,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Progress | None,
    workers: int | None,
) -> Path:
    kind = conversations if isinstance(data, SftData) else sources
    encoder = conversations.encoder(data) if isinstance(data, SftData) else sources.encoder(data, made)
    settings, files = _identity(data, source, made)
    key = _key(settings, files, tokenizer)

    def build(directory: Path) -> None:
        meter = Meter(progress and (lambda done, total: progress(done, total, source.path)))
        split = Split(data.validation_share, data.validation_max_bytes)
        documents = split(kind.read(data, source, meter, made))
        parts = write_parts(documents, directory, encoder, tokenizer, tokenizer_source, workers)
        if kind.source_identity(data, source, made) != files:
            raise UserError(f"data source {source.path}: changed while it was being read; start again")
        if isinstance(made, TextReader):
            report = json.dumps(made.report(), indent=1, ensure_ascii=False)
            _write_synced(directory / "corpus.json", report + "\n")
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


def _key(settings: dict[str, Any], files: list[FileIdentity], tokenizer: Tokenizer) -> str:
    # A file's identity holds its whole path; how the recipe wrote it does not matter then.
    named = settings["path"] if not files or not Path(files[0][0]).is_absolute() else None
    parts = {**settings, "path": named, "files": files, "tokenizer": tokenizer.fingerprint, "format": FORMAT}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _is_whole(directory: Path) -> bool:
    """All files there, of the size they were written with. Contents are not read again."""
    try:
        meta = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
        return all((directory / name).stat().st_size == size for name, size in meta["file_bytes"].items())
    except (OSError, ValueError, KeyError):
        return False


def _check_size(source: PreparedSource, seq_length: int | None) -> None:
    """`seq_length` is None for conversations: none of them needs to fill a sample, and some may have no tokens."""
    tokens, documents = source.meta["train"]["tokens"], source.meta["train"]["documents"]
    if not documents:
        held = source.meta["validation"]["documents"]
        raise UserError(
            f"data source {source.name}: nothing is left to train on, all {held} documents are held out; "
            "lower data.validation_share or give more documents"
        )
    if seq_length and tokens < seq_length + 1:
        raise UserError(
            f"data source {source.name}: {tokens} training tokens in {documents} documents are fewer than "
            f"data.seq_length + 1 = {seq_length + 1}; give more text, or at most data.seq_length={tokens - 1}"
        )


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
