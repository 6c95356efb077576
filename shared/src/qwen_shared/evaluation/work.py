"""Work that goes on where it was stopped: what is done so far lies beside the file that is to come."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from qwen_shared.tracking.files import write_atomic


class Work:
    """`done` are the JSON values that came of the work so far, in order.

    The same command goes on with them; those of another `fingerprint` (all that decides the values) are thrown away.
    """

    def __init__(self, target: Path, fingerprint: str):
        self._target, self._path = target, target.with_name(f".{target.name}.partial")
        self.done: list[Any] = []
        self._key = hashlib.sha256(fingerprint.encode()).hexdigest()
        lines = self._path.read_bytes().split(b"\n")[:-1] if self._path.exists() else []  # what follows is torn
        if not lines or lines[0].decode("ascii", "replace") != self._key:
            write_atomic(self._path, self._key + "\n")
            return
        for line in lines[1:]:
            self.done += json.loads(line)
        whole = b"\n".join(lines) + b"\n"
        with self._path.open("r+b") as file:
            file.truncate(len(whole))

    def add(self, values: list[Any]) -> None:
        """Some more are done; they are on file when this returns."""
        self.done += values
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def finish(self, text: str) -> None:
        """All is done: the file is written, and what lay beside it is no longer needed."""
        write_atomic(self._target, text)
        self._path.unlink()
