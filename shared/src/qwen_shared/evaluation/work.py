"""Work that can be resumed: its results so far lie beside the target file."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from qwen_shared.errors import UserError
from qwen_shared.files import write_atomic


class Work:
    r"""`done`: JSON values so far, in order. Values of another `fingerprint` (all that decides them) are dropped.

    Raises UserError if another process works on the same file.
    """

    def __init__(self, target: Path, fingerprint: str):
        self._target, self._path = target, target.with_name(f".{target.name}.partial")
        self._file = self._locked()
        self.done: list[Any] = []
        key = hashlib.sha256(fingerprint.encode()).hexdigest().encode()
        lines = self._file.read().split(b"\n")[:-1]  # without a torn last line
        kept = lines if lines[:1] == [key] else []
        self._file.truncate(sum(len(line) + 1 for line in kept))
        for line in kept[1:]:
            self.done += json.loads(line)
        if not kept:
            self._file.write(key + b"\n")
            self._file.flush()

    def add(self, values: list[Any]) -> None:
        """Returns when the values are on disk."""
        self.done += values
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def finish(self, text: str) -> None:
        """Writes the target and removes the partial file."""
        write_atomic(self._target, text)
        self._path.unlink()
        self._file.close()

    def _locked(self) -> BinaryIO:
        """The file stays locked until it is closed or the process ends."""
        while True:
            file = self._path.open("a+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise UserError(
                    f"{self._target}: another process is at work on it; wait for it, or write to another directory"
                ) from None
            except OSError:  # a file system without locks
                pass
            if self._path.exists() and os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                file.seek(0)
                return file
            file.close()  # another process finished and removed it meanwhile
