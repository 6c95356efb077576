"""The protocol between launchers and their processes. The file with a failure's message is as in torch's."""

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
# Clusters send SIGUSR1 to all processes before a job's time ends. Ranks ignore it; their launcher sends this.
TIME_IS_UP = signal.SIGUSR2


@dataclass(frozen=True)
class Failure:
    text: str
    at_ns: int


def is_worker() -> bool:
    """Whether this is one of several processes, whoever started them."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_launched() -> bool:
    """Whether a launcher started this process."""
    return LAUNCHER_PID in os.environ or is_worker()


def is_shown() -> bool:
    """Whether our launcher prints the failure of this process."""
    return LAUNCHER_PID in os.environ and ERROR_FILE in os.environ


def leave_failure(text: str) -> None:
    """For the launcher, if there is one. Keeps an earlier message: later failures are consequences."""
    if ERROR_FILE not in os.environ:
        return
    now = time.time_ns()
    extra = {"py_callstack": text, "timestamp": str(now // 10**9), "at_ns": now}
    with contextlib.suppress(OSError), Path(os.environ[ERROR_FILE]).open("x", encoding="utf-8") as file:
        file.write(json.dumps({"message": {"message": text, "extraInfo": extra}}))


def read_failure(path: Path) -> Failure | None:
    """None if there is no whole one."""
    try:
        extra = json.loads(path.read_text(encoding="utf-8"))["message"]["extraInfo"]
        return Failure(extra["py_callstack"], extra["at_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
