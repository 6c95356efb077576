"""Sources as iterators of documents. Every error names the file and the line, row or part."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from qwen_shared.data.check import HF, STDLIB, source_files
from qwen_shared.data.documents import FILE_END, Document, FileIdentity, Meter, TextReader
from qwen_shared.data.rows import bad_byte, files_identity, read_hf_rows, read_rows, there_are
from qwen_shared.data.stdlib import stdlib_identities, stdlib_text
from qwen_shared.data.token_file import token_dtype
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Data, Source
from qwen_shared.text import replace_lone_surrogates

if TYPE_CHECKING:
    from qwen_shared.tokenizer import Tokenizer

TEXT_DOCUMENT_BYTES = 64 * 1024


def read_documents(
    data: Data, source: Source, meter: Meter | None = None, made: TextReader | None = None
) -> Iterator[Document]:
    """The documents of one source, in the same order on every machine; at most `data.documents` of them.

    - `.jsonl`, `.jsonl.gz`, `.jsonl.zst`: one object a line, the text under `text_key`.
    - `.parquet`: one row a document, the text in the column `text_key`.
    - `.txt`, `.md`: a file is a document. A file of more than 64 KiB is cut at blank lines, else at line ends, into
      documents of at most 64 KiB, so that a single book can be shuffled and a part of it held out.
    - a directory: all such files below it, sorted by path.
    - `hf:…`: `datasets` in streaming mode.
    - `stdlib`: see `stdlib_text`; its documents come already divided into training and held-out ones.

    What a package reads itself (`made`) is all of this to itself, and keeps to `data.documents` in its own way.

    Texts of nothing but white space are passed over; lone surrogates become U+FFFD.
    Raises UserError for broken content, a missing `text_key`, and a source without any text.
    """
    meter = meter or Meter()
    limit = None if made or source.path == STDLIB else data.documents
    count = 0
    for document in made.read(meter) if made else _read(data, source, meter):
        if not document.text.strip():
            continue
        yield document
        count += 1
        if count == limit:
            return
    if not count:
        raise UserError(f"data source {source.path}: no text in it; every document is empty")


def read(data: Data, source: Source, meter: Meter, made: TextReader | None) -> Iterator[Document]:
    return read_documents(data, source, meter, made)


def source_identity(data: Data, source: Source, made: TextReader | None = None) -> list[FileIdentity]:
    """What a cache key knows of a source's contents."""
    if made:
        return made.files()
    return stdlib_identities() if source.path == STDLIB else files_identity(data, source.path)


def settings(data: Data, source: Source, made: TextReader | None) -> dict[str, Any]:
    """What decides the texts besides the contents of files."""
    if made:
        return dict(made.settings)
    if source.path == STDLIB:
        return {"python": platform.python_version()}
    hub = {"config": source.config, "split": source.split} if source.path.startswith(HF) else {}
    return {"text_key": source.text_key, **hub}


@dataclass(frozen=True)
class TextEncoder:
    """A text's ids, and the token that ends documents; once for each file where a text is several."""

    several_files: bool = False

    def dtype(self, tokenizer: Tokenizer) -> np.dtype:
        return token_dtype(tokenizer.vocab_size)

    def __call__(self, tokenizer: Tokenizer, document: Document) -> tuple[list[int], None]:
        files = document.text.split(FILE_END) if self.several_files else [document.text]
        return [id for file in files for id in (*tokenizer.encode(file), tokenizer.eod_id)], None


def encoder(data: Data, made: TextReader | None = None) -> TextEncoder:
    return TextEncoder(several_files=made is not None)


def _read(data: Data, source: Source, meter: Meter) -> Iterator[Document]:
    key = source.text_key
    if source.path == STDLIB:
        text = stdlib_text(data.validation_share, data.validation_max_bytes, data.documents, meter)
        documents = text.held_out + text.training
        half = meter.done
        for i, document in enumerate(documents):
            yield document
            meter.at(half + half * (i + 1) // len(documents))
    elif source.path.startswith(HF):
        for row, name in read_hf_rows(source.path, source.config, source.split):
            document = Document(_text_of(row, key, name), name)
            meter.at(meter.done + len(document.text))
            yield document
    else:
        files = source_files(data, source.path)
        sizes = [path.stat().st_size for path in files]
        meter.total = sum(sizes)
        for i, path in enumerate(files):
            for document, position in _read_file(path, key):
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
        for part, piece in enumerate(_pieces(file), start=1):
            if part == 1:
                piece = piece.removeprefix(b"\xef\xbb\xbf")
            try:
                text = piece.decode("utf-8")
            except UnicodeDecodeError as error:
                at = line + piece.count(b"\n", 0, error.start)
                raise UserError(f"{path} line {at}: not UTF-8 ({bad_byte(error)})") from None
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


def _text_of(row: dict[str, Any], key: str, where: str) -> str:
    if key not in row:
        raise UserError(f"{where}: no key '{key}'; {there_are([k for k in row if isinstance(k, str)], key, row)}")
    text = row[key]
    if not isinstance(text, str):
        found = "null" if text is None else type(text).__name__
        raise UserError(f"{where}: '{key}' is {found}, expected a string")
    return replace_lone_surrogates(text)
