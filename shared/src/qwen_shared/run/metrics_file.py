"""metrics.jsonl: one object a line, each step exactly once, whatever happened to the process."""

from __future__ import annotations

import errno
import json
import math
import os
from pathlib import Path
from typing import Any

from qwen_shared.files import write_atomic


class MetricsFile:
    """Opens the file for a run that goes on after `resume_step` (None: from the beginning).

    Lines past that step belong to work that is done again, and a last line torn by a kill to no step at all: both are
    taken out before anything is added.
    """

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
        """Appends one step's record; a second record of the same step is merged into its line.

        Raises OSError where the disk is full: the torn line is cut when the run goes on.
        """
        if self.last and record["step"] < self.last["step"]:
            raise ValueError(f"step {record['step']} after step {self.last['step']}")
        if self.last and record["step"] == self.last["step"]:
            self.last = self.last | record
        else:
            self.last, self._last_start = record, self._end
        data = _line(self.last).encode()
        # One write: a killed process leaves the old end or the new one.
        try:
            written = os.pwrite(self._file.fileno(), data, self._last_start)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._file.name) from None
        if written < len(data):  # the disk took a part; the next attempt would say why
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._file.name)
        self._end = self._last_start + len(data)
        self._file.truncate(self._end)

    def close(self) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records in the order of their steps, without lines that are none; [] where there is no file."""
    records: list[dict[str, Any]] = []
    if not path.exists():
        return records
    for line in path.read_bytes().split(b"\n")[:-1]:  # what follows the last newline is torn
        try:
            record = json.loads(line)
            step = record["step"]
        except (ValueError, TypeError, KeyError):
            continue  # damaged: the steps after it are still what they were
        if not isinstance(step, int) or (records and step <= records[-1]["step"]):
            break
        records.append(record)
    return records


def _line(record: dict[str, Any]) -> str:
    """Numbers keep every bit; JSON has no word for NaN and infinity, they become null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in record.items()}
    return json.dumps(plain) + "\n"
