"""Work that goes on where it was stopped: what is done so far lies beside the file that is to come."""

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
    """`done` are the JSON values that came of the work so far, in order.

    The same command goes on with them; those of another `fingerprint` (all that decides the values) are thrown away.
    Raises UserError where another process is at the same file.
    """

    def __init__(self, target: Path, fingerprint: str):
        self._target, self._path = target, target.with_name(f".{target.name}.partial")
        self._file = self._locked()
        self.done: list[Any] = []
        key = hashlib.sha256(fingerprint.encode()).hexdigest().encode()
        lines = self._file.read().split(b"\n")[:-1]  # what follows is torn
        kept = lines if lines[:1] == [key] else []
        self._file.truncate(sum(len(line) + 1 for line in kept))
        for line in kept[1:]:
            self.done += json.loads(line)
        if not kept:
            self._file.write(key + b"\n")
            self._file.flush()

    def add(self, values: list[Any]) -> None:
        """Some more are done; they are on file when this returns."""
        self.done += values
        self._file.write(json.dumps(values).encode() + b"\n")
        self._file.flush()

    def finish(self, text: str) -> None:
        """All is done: the file is written, and what lay beside it is no longer needed."""
        write_atomic(self._target, text)
        self._path.unlink()
        self._file.close()

    def _locked(self) -> BinaryIO:
        """The file of what is done, to be read from its start and added to; nobody else has it until this process ends
        or lets go of it."""
        while True:
            file = self._path.open("a+b")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise UserError(
                    f"{self._target}: another process is at work on it; wait for it, or write to another directory"
                ) from None
            except OSError:  # a file system without locks: better to work than to refuse
                pass
            if self._path.exists() and os.path.samestat(os.fstat(file.fileno()), self._path.stat()):
                file.seek(0)
                return file
            file.close()  # whoever had it has finished and taken it away in between
