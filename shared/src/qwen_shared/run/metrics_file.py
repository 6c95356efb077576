"""metrics.jsonl: one object per line, each step exactly once, also after kills."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from qwen_shared.files import write_atomic


class MetricsFile:
    """Resumes the file after `resume_step` (None: from the beginning): removes later lines, whose steps will be
    repeated, and a torn one."""

    def __init__(self, path: Path, resume_step: int | None):
        kept = [] if resume_step is None else [r for r in read_metrics(path) if r["step"] <= resume_step]
        text = "".join(_line(record) for record in kept)
        if not path.exists() or path.read_bytes() != text.encode():
            write_atomic(path, text)
        self.last: dict[str, Any] = kept[-1] if kept else {}
        self._file = path.open("r+b", buffering=0)
        self._last_start = len(text.encode()) - len(_line(self.last).encode()) if kept else 0
        self._end = self._file.seek(0, os.SEEK_END)

    def add(self, record: dict[str, Any]) -> None:
        """Appends the record or merges it into its step's line. Raises OSError if the disk is full."""
        if self.last and record["step"] < self.last["step"]:
            raise ValueError(f"step {record['step']} after step {self.last['step']}")
        if self.last and record["step"] == self.last["step"]:
            self.last = self.last | record
        else:
            self.last, self._last_start = record, self._end
        data = _line(self.last).encode()
        # One write: a kill leaves the old end or the new one.
        try:
            written = os.pwrite(self._file.fileno(), data, self._last_start)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from None
        if written < len(data):  # the disk is full
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        self._end = self._last_start + len(data)
        self._file.truncate(self._end)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Records by step, without damaged lines; [] if there is no file."""
    records: list[dict[str, Any]] = []
    if not path.exists():
        return records
    for line in path.read_bytes().split(b"\n")[:-1]:  # text after the last newline is torn
        try:
            record = json.loads(line)
            step = record["step"]
        except (ValueError, TypeError, KeyError):
            continue  # damaged; later lines are still valid
        if not isinstance(step, int) or (records and step <= records[-1]["step"]):
            break
        records.append(record)
    return records


def _line(record: dict[str, Any]) -> str:
    """Numbers keep every bit; NaN and infinity become null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain) + "\n"
