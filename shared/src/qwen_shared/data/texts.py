"""Texts from files, datasets and the standard library."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from qwen_shared.data.check import HF, STDLIB, source_files
from qwen_shared.data.documents import FILE_END, Document, Meter, SourceReader
from qwen_shared.data.rows import bad_byte, files_identity, known_keys, read_hf_rows, read_rows
from qwen_shared.data.stdlib import stdlib_identities, stdlib_text
from qwen_shared.data.token_file import token_dtype
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Source, TrainingData
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

TEXT_DOCUMENT_BYTES = 64 * 1024


def text_reader(data: TrainingData, source: Source, own: SourceReader | None = None) -> SourceReader:
    """Reads at most `data.documents` texts of a source; a package's `own` reader applies the limit itself.

    - `.jsonl`, `.jsonl.gz`, `.jsonl.zst`: a JSON object per line, with the text under `text_key`.
    - `.parquet`: a row per document, with the text in the column `text_key`.
    - `.txt`, `.md`: one document. Files over 64 KiB are cut at blank lines, else at line ends, into documents of at
      most 64 KiB, so that a single book can be shuffled and a part of it held out.
    - a directory: all such files below it, sorted by path.
    - `hf:…`: `datasets` in streaming mode.
    - `stdlib`: see `stdlib_text`; already split.

    Skips texts of white space only; lone surrogates become U+FFFD. Reading raises UserError, with file and line, row or
    part, for broken content, a missing `text_key`, and a source without text.
    """
    limit = None if own or source.path == STDLIB else data.documents
    base = own or _file_reader(data, source)

    def read(meter: Meter) -> Iterator[Document]:
        count = 0
        for document in base.read(meter):
            if not document.text.strip():
                continue
            yield document
            count += 1
            if count == limit:
                return
        if not count:
            raise UserError(f"data source {source.path}: no text in it; every document is empty")

    return replace(base, read=read)


@dataclass(frozen=True)
class TextEncoder:
    """A text's ids and the end-of-document token, after each file if there are `several_files`."""

    several_files: bool = False

    def dtype(self, tokenizer: Tokenizer) -> np.dtype:
        return token_dtype(tokenizer.vocab_size)

    def __call__(self, tokenizer: Tokenizer, document: Document) -> tuple[list[int], None]:
        files = document.text.split(FILE_END) if self.several_files else [document.text]
        return [id for file in files for id in (*tokenizer.encode(file), tokenizer.eod_id)], None


def _file_reader(data: TrainingData, source: Source) -> SourceReader:
    if source.path == STDLIB:
        return SourceReader(partial(_read_stdlib, data), {"python": platform.python_version()}, stdlib_identities)
    identity = partial(files_identity, data, source.path)
    if source.path.startswith(HF):
        settings = {"text_key": source.text_key, "config": source.config, "split": source.split}
        return SourceReader(partial(_read_hf, source), settings, identity)
    return SourceReader(partial(_read_files, data, source), {"text_key": source.text_key}, identity)


def _read_stdlib(data: TrainingData, meter: Meter) -> Iterator[Document]:
    text = stdlib_text(data.validation_fraction, data.validation_max_bytes, data.documents, meter)
    documents = text.held_out + text.training
    half = meter.done
    for i, document in enumerate(documents):
        yield document
        meter.at(half + half * (i + 1) // len(documents))


def _read_hf(source: Source, meter: Meter) -> Iterator[Document]:
    for row, name in read_hf_rows(source.path, source.config, source.split):
        document = Document(_text_of(row, source.text_key, name), name)
        meter.at(meter.done + len(document.text))
        yield document


def _read_files(data: TrainingData, source: Source, meter: Meter) -> Iterator[Document]:
    files = source_files(data, source.path)
    sizes = [path.stat().st_size for path in files]
    meter.total = sum(sizes)
    for i, path in enumerate(files):
        for document, position in _read_file(path, source.text_key):
            meter.at(sum(sizes[:i]) + position)
            yield document


def _read_file(path: Path, key: str) -> Iterator[tuple[Document, int]]:
    if path.suffix.lower() in (".txt", ".md"):
        try:
            yield from _read_text(path)
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    else:
        for row, name, position in read_rows(path, [key]):
            yield Document(_text_of(row, key, name), name), position


def _read_text(path: Path) -> Iterator[tuple[Document, int]]:
    line = 1
    with path.open("rb") as file:
        small = path.stat().st_size <= TEXT_DOCUMENT_BYTES
        for part, block in enumerate(_text_parts(file), start=1):
            if part == 1:
                block = block.removeprefix(b"\xef\xbb\xbf")
            try:
                text = block.decode("utf-8")
            except UnicodeDecodeError as error:
                at = line + block.count(b"\n", 0, error.start)
                raise UserError(f"{path} line {at}: not UTF-8 ({bad_byte(error)})") from None
            line += block.count(b"\n")
            text = text.replace("\r\n", "\n").strip("\n")
            yield Document(text, str(path) if small else f"{path} part {part}"), file.tell()


def _text_parts(file: BinaryIO) -> Iterator[bytes]:
    """The file's bytes in parts of 32 to 64 KiB (the last may be shorter)."""
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
    """The cut: after the last blank line of the second half, else its last line end, space, or character."""
    half = len(window) // 2
    for border in (rb"\n[ \t\r]*\n", rb"\n", rb"[ \t]"):
        ends = [match.end() for match in re.finditer(border, window[half:])]
        if ends:
            return half + ends[-1]
    cut = len(window) - 1
    while cut > half and window[cut] & 0xC0 == 0x80:  # inside a UTF-8 character
        cut -= 1
    return cut


def _text_of(row: dict[str, Any], key: str, where: str) -> str:
    if key not in row:
        raise UserError(f"{where}: no key '{key}'; {known_keys([k for k in row if isinstance(k, str)], key, row)}")
    text = row[key]
    if not isinstance(text, str):
        found = "null" if text is None else type(text).__name__
        raise UserError(f"{where}: '{key}' is {found}, expected a string")
    return replace_lone_surrogates(text)
