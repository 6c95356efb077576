"""What a launcher of ours and the processes that it starts agree on: variables, a signal, and the file in which a
process leaves why it fails. That one's name and form are those of torch's own launchers, which show it in their
summaries."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
LAUNCHER_PID = "QWEN_LAUNCHER_PID"
# Clusters announce the end of a job's time by SIGUSR1, to every process of it. Ranks ignore that: their launcher tells
# them, once, by this.
TIME_IS_UP = signal.SIGUSR2


@dataclass(frozen=True)
class Failure:
    text: str
    at_ns: int


def is_worker() -> bool:
    """Whether this process was started as one of several, by `launch`, torchrun or a cluster."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_launched() -> bool:
    """Whether this process is what a launcher started, one of several or alone."""
    return LAUNCHER_PID in os.environ or is_worker()


def is_shown() -> bool:
    """Whether what is left will be shown by a launcher of ours, so that this process need not say it."""
    return LAUNCHER_PID in os.environ and ERROR_FILE in os.environ


def leave_failure(text: str) -> None:
    """Where there is a launcher to read it. What was left first counts: the rest is its consequence."""
    if ERROR_FILE not in os.environ:
        return
    now = time.time_ns()
    extra = {"py_callstack": text, "timestamp": str(now // 10**9), "at_ns": now}
    with contextlib.suppress(OSError), Path(os.environ[ERROR_FILE]).open("x", encoding="utf-8") as file:
        file.write(json.dumps({"message": {"message": text, "extraInfo": extra}}))


def read_failure(path: Path) -> Failure | None:
    """What a rank has left; None where there is nothing, or nothing whole."""
    try:
        extra = json.loads(path.read_text(encoding="utf-8"))["message"]["extraInfo"]
        return Failure(extra["py_callstack"], extra["at_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
