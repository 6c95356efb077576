"""Sources as iterators of documents. Every error names the file and the line, row or part."""

from __future__ import annotations

import difflib
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from qwen_shared.data.check import HF, STDLIB, hf_directory, source_files
from qwen_shared.data.documents import Document, FileIdentity, Meter, without_lone_surrogates
from qwen_shared.data.stdlib import stdlib_identities, stdlib_text
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data, Source

TEXT_DOCUMENT_BYTES = 64 * 1024


def read_documents(data: Data, source: Source, meter: Meter | None = None) -> Iterator[Document]:
    """The documents of one source, in the same order on every machine; at most `data.documents` of them.

    - `.jsonl`, `.jsonl.gz`, `.jsonl.zst`: one object a line, the text under `text_key`.
    - `.parquet`: one row a document, the text in the column `text_key`.
    - `.txt`, `.md`: a file is a document. A file of more than 64 KiB is cut at blank lines, else at line ends, into
      documents of at most 64 KiB, so that a single book can be shuffled and a part of it held out.
    - a directory: all such files below it, sorted by path.
    - `hf:…`: `datasets` in streaming mode.
    - `stdlib`: see `stdlib_text`; its documents come already divided into training and held-out ones.

    Texts of nothing but white space are passed over; lone surrogates become U+FFFD.
    Raises UserError for broken content, a missing `text_key`, and a source without any text.
    """
    meter = meter or Meter()
    count = 0
    for document in _read(data, source, meter):
        if not document.text.strip():
            continue
        yield document
        count += 1
        if count == data.documents and source.path != STDLIB:
            return
    if not count:
        raise UserError(f"data source {source.path}: no text in it; every document is empty")


def source_identity(source: Source) -> list[FileIdentity]:
    """What a cache key knows of a source's contents: its files with sizes and times. A hub's dataset has none."""
    if source.path == STDLIB:
        return stdlib_identities()
    if source.path.startswith(HF):
        directory = hf_directory(source)
        files = sorted(p for p in directory.rglob("*") if p.is_file()) if directory else []
    else:
        files = source_files(source)
    return [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def _read(data: Data, source: Source, meter: Meter) -> Iterator[Document]:
    if source.path == STDLIB:
        text = stdlib_text(data.validation_share, data.validation_max_bytes, data.documents, meter)
        documents = text.held_out + text.training
        half = meter.done
        for i, document in enumerate(documents):
            yield document
            meter.at(half + half * (i + 1) // len(documents))
    elif source.path.startswith(HF):
        for document in _read_hf(source):
            meter.at(meter.done + len(document.text))
            yield document
    else:
        files = source_files(source)
        sizes = [path.stat().st_size for path in files]
        meter.total = sum(sizes)
        for i, path in enumerate(files):
            reader = {".parquet": _read_parquet, ".txt": _read_text, ".md": _read_text}.get(path.suffix.lower())
            try:
                for document, position in (reader or _read_jsonl)(path, source.text_key):
                    meter.at(sum(sizes[:i]) + position)
                    yield document
            except OSError as error:  # taken away since it was listed, or the disk fails
                raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


# The readers below yield (document, bytes of the file read so far).


def _read_jsonl(path: Path, key: str) -> Iterator[tuple[Document, int]]:
    with path.open("rb") as raw:
        for number, line in _lines(path, raw):
            name = f"{path} line {number}"
            try:
                row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise UserError(f"{name}: not UTF-8 ({_bad_byte(error)})") from None
            except json.JSONDecodeError as error:
                raise UserError(
                    f"{name}: not valid JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"
                ) from None
            except (ValueError, RecursionError) as error:
                raise UserError(f"{name}: not valid JSON: {error}") from None
            if not isinstance(row, dict):
                raise UserError(f"{name}: expected an object with the key '{key}', found {type(row).__name__}")
            yield Document(_text_of(row, key, name), name), raw.tell()


def _lines(path: Path, raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, decompressed as the file's name says."""
    suffix = path.suffix.lower()
    file: Any = raw
    damage: tuple[type[Exception], ...] = (EOFError, OSError, zlib.error)
    if suffix == ".gz":
        file = gzip.GzipFile(fileobj=raw)
    elif suffix == ".zst":
        import zstandard

        file = io.BufferedReader(_ZstdReader(raw), 1 << 20)
        damage = (*damage, zstandard.ZstdError)
    number = 0
    try:
        for line in file:
            number += 1
            if not line.isspace():
                yield number, line
    except damage as error:
        kind = {".gz": "gzip ", ".zst": "zstd "}.get(suffix, "")
        raise UserError(f"{path}: {kind}data damaged or cut off after line {number} ({error})") from None


class _ZstdReader(io.RawIOBase):
    """Frames of zstd, decompressed. Unlike the library's own reader it tells a cut-off frame from the end."""

    def __init__(self, raw: BinaryIO):
        self._raw = raw
        self._rest = b""  # compressed bytes after the end of a frame
        self._out = memoryview(b"")
        self._frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        import zstandard

        while not self._out:
            block = self._rest or self._raw.read(1 << 17)
            if not block:
                if self._frame is not None:
                    raise EOFError("the file ends within a zstd frame")
                return 0
            if self._frame is None:
                # Corpora packed with --long need windows up to 2 GiB.
                self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            self._out = memoryview(self._frame.decompress(block))
            self._rest = b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._out))
        buffer[:size], self._out = self._out[:size], self._out[size:]
        return size


def _read_parquet(path: Path, key: str) -> Iterator[tuple[Document, int]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = path.stat().st_size
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            columns = file.schema_arrow.names
            if key not in columns:
                raise UserError(f"{path}: no column '{key}'; {_there_are(columns, key)}")
            rows = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=256, columns=[key]):
                for value in batch.column(0):
                    number += 1
                    name = f"{path} row {number}"
                    yield Document(_text_of({key: value.as_py()}, key, name), name), size * number // rows
    except UnicodeDecodeError as error:
        raise UserError(f"{path} row {number}: not UTF-8 ({_bad_byte(error)})") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file, after row {number}: {_first_line(error)}") from None


def _read_text(path: Path, key: str) -> Iterator[tuple[Document, int]]:
    line = 1
    with path.open("rb") as file:
        small = path.stat().st_size <= TEXT_DOCUMENT_BYTES
        for part, piece in enumerate(_pieces(file), start=1):
            if part == 1:
                piece = piece.removeprefix(b"\xef\xbb\xbf")
            try:
                text = piece.decode("utf-8")
            except UnicodeDecodeError as error:
                at = line + piece.count(b"\n", 0, error.start)
                raise UserError(f"{path} line {at}: not UTF-8 ({_bad_byte(error)})") from None
            line += piece.count(b"\n")
            text = text.replace("\r\n", "\n").strip("\n")
            yield Document(text, str(path) if small else f"{path} part {part}"), file.tell()


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    """A text's bytes in pieces of at most 64 KiB. A border that would leave less than half a piece is passed over."""
    rest = b""
    while True:
        window = rest + file.read(TEXT_DOCUMENT_BYTES + 1 - len(rest))
        if len(window) <= TEXT_DOCUMENT_BYTES:
            if window:
                yield window
            return
        cut = _border(window[:TEXT_DOCUMENT_BYTES])
        yield window[:cut]
        rest = window[cut:]


def _border(window: bytes) -> int:
    half = len(window) // 2
    for border in (rb"\n[ \t\r]*\n", rb"\n", rb"[ \t]"):
        ends = [match.end() for match in re.finditer(border, window[half:])]
        if ends:
            return half + ends[-1]
    cut = len(window) - 1
    while cut > half and window[cut] & 0xC0 == 0x80:  # inside a UTF-8 character
        cut -= 1
    return cut


def _read_hf(source: Source) -> Iterator[Document]:
    import datasets

    name = source.path.removeprefix(HF)
    directory = hf_directory(source)
    number = 0
    try:
        rows: Iterable[dict]
        if directory and ((directory / "state.json").exists() or (directory / "dataset_dict.json").exists()):
            rows = datasets.load_from_disk(str(directory))
            if isinstance(rows, datasets.DatasetDict):
                rows = rows[source.split]
        else:
            rows = datasets.load_dataset(str(directory or name), name=source.config, split=source.split, streaming=True)
        for row in rows:
            number += 1
            where = f"{source.path} row {number}"
            yield Document(_text_of(row, source.text_key, where), where)
    except UserError:
        raise
    except Exception as error:  # a hub, a network and file formats of every kind: the error types are without number
        after = f", after row {number}" if number else ""
        what = f"config={source.config}, split={source.split}"
        raise UserError(
            f"data source {source.path} ({what}){after}: {type(error).__name__}: {_first_line(error)}"
        ) from None


def _text_of(row: dict[str, Any], key: str, where: str) -> str:
    if key not in row:
        raise UserError(f"{where}: no key '{key}'; {_there_are([k for k in row if isinstance(k, str)], key, row)}")
    text = row[key]
    if not isinstance(text, str):
        found = "null" if text is None else type(text).__name__
        raise UserError(f"{where}: '{key}' is {found}, expected a string")
    return without_lone_surrogates(text)


def _there_are(keys: list[str], key: str, row: dict[str, Any] | None = None) -> str:
    """The keys there are, and the one most likely meant: of a similar name, else the one with the longest text."""
    if not keys:
        return "there are no keys at all"
    texts = {k: len(v) for k, v in (row or {}).items() if isinstance(v, str)}
    near = difflib.get_close_matches(key, keys, n=1) or ([max(texts, key=lambda k: texts[k])] if texts else keys[:1])
    shown = ", ".join(keys[:8]) + (", …" if len(keys) > 8 else "")
    return f"there are: {shown}; perhaps text_key={near[0]}"


def _bad_byte(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x}, {error.reason}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
