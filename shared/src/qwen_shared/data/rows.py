"""Rows of files and datasets."""

from __future__ import annotations

import difflib
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from qwen_shared.data.check import HF, hf_directory, source_files
from qwen_shared.data.documents import FileIdentity
from qwen_shared.errors import UserError, first_line
from qwen_shared.recipe.schema import TrainingData

Row = tuple[dict[str, Any], str, int]  # the row, its name for error messages, bytes of the file read so far


def read_rows(path: Path, columns: list[str] | None = None) -> Iterator[Row]:
    """Rows of a .jsonl (.gz, .zst), .json (a list) or .parquet file (only `columns`, if given).

    Raises UserError, with file and line or row, for broken content and missing Parquet columns.
    """
    suffix = path.suffix.lower()
    try:
        yield from {".parquet": _read_parquet, ".json": _read_json}.get(suffix, _read_jsonl)(path, columns)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None


def files_identity(data: TrainingData, written: str) -> list[FileIdentity]:
    """A source's files; [] for a dataset on a hub."""
    if written.startswith(HF):
        directory = hf_directory(written)
        files = sorted(p for p in directory.rglob("*") if p.is_file()) if directory else []
    else:
        files = source_files(data, written)
    return [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in files]


def _read_jsonl(path: Path, columns: list[str] | None) -> Iterator[Row]:
    with path.open("rb") as raw:
        for number, line in _lines(path, raw):
            name = f"{path} line {number}"
            row = _parsed(line, name, "utf-8-sig" if number == 1 else "utf-8")
            if not isinstance(row, dict):
                keys = f" with the key '{columns[0]}'" if columns else ""
                raise UserError(f"{name}: expected an object{keys}, found {type(row).__name__}")
            yield row, name, raw.tell()


def _read_json(path: Path, columns: list[str] | None) -> Iterator[Row]:
    content = path.read_bytes()
    rows = _parsed(content, str(path), "utf-8-sig")
    if not isinstance(rows, list):
        raise UserError(f"{path}: expected a list of objects, found {type(rows).__name__}; one object a line is .jsonl")
    for number, row in enumerate(rows, start=1):
        name = f"{path} item {number}"
        if not isinstance(row, dict):
            raise UserError(f"{name}: expected an object, found {type(row).__name__}")
        yield row, name, len(content) * number // len(rows)


def _parsed(content: bytes, name: str, encoding: str) -> Any:
    try:
        return json.loads(content.decode(encoding))
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 ({bad_byte(error)})") from None
    except json.JSONDecodeError as error:
        raise UserError(
            f"{name}: not valid JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid JSON: {error}") from None


def _lines(path: Path, raw: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank, decompressed by the file's suffix."""
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
    """Unlike the library's own reader, detects a cut-off last frame."""

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
                # Corpora compressed with --long need windows of up to 2 GiB.
                self._frame = zstandard.ZstdDecompressor(max_window_size=1 << 31).decompressobj()
            self._out = memoryview(self._frame.decompress(block))
            self._rest = b""
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        size = min(len(buffer), len(self._out))
        buffer[:size], self._out = self._out[:size], self._out[size:]
        return size


def _read_parquet(path: Path, columns: list[str] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    size = path.stat().st_size
    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            for column in columns or ():
                if column not in names:
                    raise UserError(f"{path}: no column '{column}'; {known_keys(names, column)}")
            rows = max(1, file.metadata.num_rows)
            for batch in file.iter_batches(batch_size=256, columns=columns):
                for values in zip(*batch.columns, strict=True):
                    number += 1
                    row = {name: value.as_py() for name, value in zip(batch.schema.names, values, strict=True)}
                    yield row, f"{path} row {number}", size * number // rows
    except UnicodeDecodeError as error:
        raise UserError(f"{path} row {number}: not UTF-8 ({bad_byte(error)})") from None
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file, after row {number}: {first_line(error)}") from None


def read_hf_rows(
    written: str, config: str | None, split: str, data_dir: str | None = None, revision: str | None = None
) -> Iterator[tuple[dict[str, Any], str]]:
    """(row, name) of a dataset on a hub or in a directory, streamed; `data_dir` selects a folder, `revision` a commit
    or tag on the hub. Raises UserError if it cannot be read."""
    import datasets

    directory = hf_directory(written)
    number = 0
    try:
        rows: Iterable[dict]
        if directory and ((directory / "state.json").exists() or (directory / "dataset_dict.json").exists()):
            rows = datasets.load_from_disk(str(directory))
            if isinstance(rows, datasets.DatasetDict):
                rows = rows[split]
        else:
            name = str(directory or written.removeprefix(HF))
            rows = datasets.load_dataset(
                name, name=config, split=split, data_dir=data_dir, revision=revision, streaming=True
            )
        for row in rows:
            number += 1
            yield row, f"{written} row {number}"
    except UserError:
        raise
    except Exception as error:  # hubs, networks and file formats raise errors of any type
        after = f", after row {number}" if number else ""
        what = f"config={config}, split={split}" + (f", data_dir={data_dir}" if data_dir else "")
        raise UserError(f"data source {written} ({what}){after}: {type(error).__name__}: {first_line(error)}") from None


def known_keys(keys: list[str], key: str, row: dict[str, Any] | None = None) -> str:
    """Names the keys and the likely `text_key`: one of similar name, else the one with the longest text."""
    if not keys:
        return "there are no keys at all"
    texts = {k: len(v) for k, v in (row or {}).items() if isinstance(v, str)}
    near = difflib.get_close_matches(key, keys, n=1) or ([max(texts, key=lambda k: texts[k])] if texts else keys[:1])
    shown = ", ".join(keys[:8]) + (", …" if len(keys) > 8 else "")
    return f"there are: {shown}; perhaps text_key={near[0]}"


def bad_byte(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x}, {error.reason}"
