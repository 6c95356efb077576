"""From sources to token files, cached under a key of everything that decides them."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.data.cache import build_once
from qwen_shared.data.check import check_sources
from qwen_shared.data.conversations import ConversationEncoder, conversation_reader
from qwen_shared.data.documents import FileIdentity, Meter, SourceReader
from qwen_shared.data.split import Split
from qwen_shared.data.texts import TextEncoder, text_reader
from qwen_shared.data.tokenise import PARTS, Encoder, write_parts
from qwen_shared.errors import UserError
from qwen_shared.files import write_atomic
from qwen_shared.recipe.schema import Source, TrainingData
from qwen_shared.recipe.sft_schema import ConversationSource, SftData

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

FORMAT = 2  # raise it if the same settings and files would give other token files

Progress = Callable[[int, int | None, str], None]  # bytes done, total bytes or None, the source's name
Readers = Mapping[str, SourceReader] | Mapping[Source, SourceReader]  # by path, or by source if its other keys count


@dataclass(frozen=True)
class PreparedSource:
    """A source's token files; JSON by `dataclasses.asdict`."""

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
    readers: Readers | None = None,
) -> list[PreparedSource]:
    """Token files of every source in `cache_dir/<key>/`, built if they are missing.

    Documents are conversations if `data` is SftData, else texts. `readers` are a package's own. The key covers the
    source, its files' sizes and times, the tokenizer and the settings, but not seq_length. The files do not depend on
    `workers` (default: the available CPUs). A source's weight is the recipe's, else its number of training tokens.

    Raises UserError if a source cannot be read or the cache cannot be written, and `for_training`, if a training part
    is empty or has fewer than seq_length + 1 tokens.
    """
    from qwen_shared.tokenizer import load_tokenizer

    check_sources(data)
    tokenizer = load_tokenizer(tokenizer_source)
    prepared = []
    for source in data.sources:
        directory = _prepare_source(data, source, readers, tokenizer_source, tokenizer, cache_dir, progress, workers)
        meta = _read_meta(directory)
        weight = source.weight if source.weight is not None else float(meta["train"]["tokens"])
        prepared.append(PreparedSource(source.path, str(directory), meta, weight))
    for source in prepared if for_training else []:
        _check_size(source, None if isinstance(data, SftData) else data.seq_length)
    return prepared


def open_source(
    data: TrainingData, source: Source | ConversationSource, readers: Readers | None = None
) -> tuple[SourceReader, Encoder]:
    own = next((reader for key, reader in (readers or {}).items() if key in (source, source.path)), None)
    if isinstance(data, SftData) and isinstance(source, ConversationSource):
        return conversation_reader(data, source, own), ConversationEncoder(data.mask, data.system)
    assert isinstance(source, Source)
    return text_reader(data, source, own), TextEncoder(several_files=own is not None)


def find_prepared(
    data: TrainingData, source: Source | ConversationSource, tokenizer: Tokenizer, cache_dir: Path
) -> dict[str, Any] | None:
    """meta.json of a source's token files; None if they are missing. Raises UserError if the source is missing."""
    reader, _ = open_source(data, source)
    directory = cache_dir / _key(_settings(data, source, reader), reader.files(), tokenizer)
    return _read_meta(directory) if _is_complete(directory) else None


def _settings(data: TrainingData, source: Source | ConversationSource, reader: SourceReader) -> dict[str, Any]:
    return {
        "path": source.path,
        "validation_share": data.validation_fraction,  # an older name, so that caches stay valid
        "validation_max_bytes": data.validation_max_bytes,
        "documents": data.documents,
        **reader.settings,
    }


def _prepare_source(
    data: TrainingData,
    source: Source | ConversationSource,
    readers: Readers | None,
    tokenizer_source: str,
    tokenizer: Tokenizer,
    cache_dir: Path,
    progress: Progress | None,
    workers: int | None,
) -> Path:
    reader, encoder = open_source(data, source, readers)
    settings, files = _settings(data, source, reader), reader.files()

    def build(directory: Path) -> None:
        meter = Meter(progress and (lambda done, total: progress(done, total, source.path)))
        split = Split(data.validation_fraction, data.validation_max_bytes)
        documents = split(reader.read(meter))
        parts = write_parts(documents, directory, encoder, tokenizer, tokenizer_source, workers)
        if reader.files() != files:
            raise UserError(f"data source {source.path}: changed while it was being read; start again")
        if reader.report:
            report = json.dumps(reader.report(), indent=1, ensure_ascii=False)
            write_atomic(directory / "corpus.json", report + "\n")
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
        write_atomic(directory / "meta.json", json.dumps(meta, indent=2, ensure_ascii=False) + "\n")
        if progress:
            progress(meter.done, meter.total, source.path)

    directory = cache_dir / _key(settings, files, tokenizer)
    try:
        build_once(directory, build, _is_complete)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR):
            raise
        raise UserError(
            f"data cache {cache_dir}: cannot be written: {error.strerror}; mend that, or set another QWEN_CACHE"
        ) from None
    return directory


def _key(settings: dict[str, Any], files: list[FileIdentity], tokenizer: Tokenizer) -> str:
    # Absolute paths of files make the recipe's path, which may be relative, redundant.
    named = settings["path"] if not files or not Path(files[0][0]).is_absolute() else None
    parts = {**settings, "path": named, "files": files, "tokenizer": tokenizer.fingerprint, "format": FORMAT}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24]


def _read_meta(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "meta.json").read_text(encoding="utf-8"))


def _is_complete(directory: Path) -> bool:
    """Whether all files have the size they were written with; contents are not checked."""
    try:
        sizes = _read_meta(directory)["file_bytes"]
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError):
        return False


def _check_size(source: PreparedSource, seq_length: int | None) -> None:
    """`seq_length` None: conversations need not fill a sample."""
    tokens, documents = source.meta["train"]["tokens"], source.meta["train"]["documents"]
    if not documents:
        held = source.meta["validation"]["documents"]
        raise UserError(
            f"data source {source.name}: nothing is left to train on, all {held} documents are held out; "
            "lower data.validation_fraction or give more documents"
        )
    if seq_length and tokens < seq_length + 1:
        raise UserError(
            f"data source {source.name}: {tokens} training tokens in {documents} documents are fewer than "
            f"data.seq_length + 1 = {seq_length + 1}; give more text, or at most data.seq_length={tokens - 1}"
        )
