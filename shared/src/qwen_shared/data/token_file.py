"""Token files in Megatron's indexed format, written and read without Megatron.

`PREFIX.bin` holds only tokens. `PREFIX.idx`, little-endian:

    9 bytes   b"MMIDIDX\\0\\0"
    uint64    version, 1
    uint8     code of the token type: 8 uint16, 4 int32
    uint64    n, number of sequences
    uint64    d, number of document indices (documents + 1)
    int32[n]  tokens of each sequence
    int64[n]  byte at which each sequence begins in the .bin
    int64[d]  first sequence of each document, and n at the end

Here each sequence is one document with its end-of-document token.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from pathlib import Path
from types import TracebackType

import numpy as np

from qwen_shared.errors import UserError
from qwen_shared.files import atomic_file, flush

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")
_DTYPES: dict[int, np.dtype] = {4: np.dtype("<i4"), 8: np.dtype("<u2")}
_CODES = {dtype: code for code, dtype in _DTYPES.items()}


def token_dtype(vocab_size: int) -> np.dtype:
    """uint16 below 65,500 ids, else int32, like Megatron."""
    return _DTYPES[8] if vocab_size < 65_500 else _DTYPES[4]


def token_ids(stored: np.ndarray) -> np.ndarray:
    """Ids of stored tokens, which may be complements: int64."""
    stored = stored.astype(np.int64)
    return np.where(stored < 0, ~stored, stored)


def in_loss(stored: np.ndarray) -> np.ndarray:
    """Which stored tokens of conversations are in the loss: bool."""
    return stored < 0


class TokenFileWriter:
    """Writes `PREFIX.bin` as documents come and `PREFIX.idx` at the end of the `with` block, which flushes both.

    After an error there is no `.idx`, and the `.bin` alone is not readable. `sha256` is that of the .bin, in hex.
    """

    def __init__(self, prefix: Path, dtype: np.dtype):
        self.dtype = np.dtype(dtype).newbyteorder("<")
        if self.dtype not in _CODES:
            raise ValueError(f"token type {dtype}: expected uint16 or int32")
        self._idx = prefix.with_name(prefix.name + ".idx")
        self._idx.unlink(missing_ok=True)
        self._bin_path = prefix.with_name(prefix.name + ".bin")
        self._bin = self._bin_path.open("wb")
        self._lengths = array("i")
        self._hash = hashlib.sha256()
        self.num_tokens = 0

    @property
    def num_documents(self) -> int:
        return len(self._lengths)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def add(self, tokens: np.ndarray, lengths: list[int] | None = None) -> None:
        """Adds the documents in `tokens` [T], of `lengths` tokens each; default: one document."""
        lengths = [len(tokens)] if lengths is None else lengths
        if sum(lengths) != len(tokens):
            raise ValueError(f"{len(tokens)} tokens, but the lengths add up to {sum(lengths)}")
        content = np.ascontiguousarray(tokens, self.dtype).tobytes()
        self._bin.write(content)
        self._hash.update(content)
        self._lengths.extend(lengths)
        self.num_tokens += len(tokens)

    def __enter__(self) -> TokenFileWriter:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bin.close()
        if kind is None:
            flush(self._bin_path)
            self._write_index()

    def _write_index(self) -> None:
        lengths = np.frombuffer(self._lengths, np.int32) if self._lengths else np.zeros(0, np.int32)
        ends = np.cumsum(lengths, dtype=np.int64) * self.dtype.itemsize
        n = len(lengths)
        with atomic_file(self._idx) as file:
            file.write(_HEADER.pack(_MAGIC, 1, _CODES[self.dtype], n, n + 1))
            file.write(lengths.astype("<i4").tobytes())
            file.write((ends - lengths * self.dtype.itemsize).astype("<i8").tobytes())
            file.write(np.arange(n + 1, dtype="<i8").tobytes())


class TokenFile:
    """A token file mapped into memory.

    - `tokens` [T], uint16 or int32
    - `lengths` int32 [n] and `starts` int64 [n]: each sequence's number of tokens and position in `tokens`

    Raises UserError if a file is missing, is not a token file, or has another size than the index says.
    """

    def __init__(self, prefix: Path | str):
        idx, bin_ = Path(f"{prefix}.idx"), Path(f"{prefix}.bin")
        for path in (idx, bin_):
            if not path.is_file():
                raise UserError(f"token file {path}: no such file")
        with idx.open("rb") as file:
            header = file.read(_HEADER.size)
        if len(header) < _HEADER.size or not header.startswith(_MAGIC):
            raise UserError(f"token file {idx}: not in Megatron's indexed format (or cut off in its header)")
        _, version, code, n, d = _HEADER.unpack(header)
        if version != 1 or code not in _DTYPES:
            raise UserError(f"token file {idx}: version {version}, token type {code}; expected 1, and 4 or 8")
        _check_bytes(idx, _HEADER.size + 12 * n + 8 * d)
        index = np.memmap(idx, np.uint8, "r")
        self.dtype = _DTYPES[code]
        self.lengths = np.frombuffer(index, "<i4", n, _HEADER.size)
        self.starts = np.frombuffer(index, "<i8", n, _HEADER.size + 4 * n) // self.dtype.itemsize
        self.num_tokens = int(self.lengths.sum(dtype=np.int64))
        _check_bytes(bin_, self.num_tokens * self.dtype.itemsize)
        ends = self.starts + self.lengths
        if n and (self.lengths.min() < 0 or self.starts.min() < 0 or ends.max() > self.num_tokens):
            raise UserError(f"token file {idx}: sequences lie outside the .bin; it is damaged")
        # An empty file cannot be mapped.
        self.tokens = np.memmap(bin_, self.dtype, "r") if self.num_tokens else np.zeros(0, self.dtype)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> np.ndarray:
        """A view."""
        start = int(self.starts[i])
        return self.tokens[start : start + int(self.lengths[i])]


def _check_bytes(path: Path, expected: int) -> None:
    found = path.stat().st_size
    if found != expected:
        raise UserError(f"token file {path}: {found} bytes, expected {expected}; it is cut off or damaged")
