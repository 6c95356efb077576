"""How a process that fails says so, and which of several failures is the cause of the others.

A rank that fails takes the others with it: they lose their peer and complain at length. So a rank under a launcher of
ours says nothing itself; it leaves its words in a file, before its connections close, and the launcher shows the
earliest. The file's name and form are those of torch's own launchers, which show it in their summaries.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import EXIT_USER_ERROR

ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
LAUNCHER_PID = "QWEN_LAUNCHER_PID"
TURN_S = 5.0  # how long a rank leaves it to another one to say what both have found


@dataclass(frozen=True)
class Failure:
    text: str
    at_ns: int


def report(text: str, code: int) -> int:
    """Say why this process ends, or leave it to be said by its launcher; returns `code`."""
    is_ours = LAUNCHER_PID in os.environ
    if ERROR_FILE in os.environ:
        foreign_mistake = code == EXIT_USER_ERROR and not is_ours
        _leave(Path(os.environ[ERROR_FILE]), "a mistake of the user's, said above" if foreign_mistake else text)
    if is_ours and ERROR_FILE in os.environ:
        return code
    if code == EXIT_USER_ERROR:
        _wait_for_turn()
    print(text, file=sys.stderr, flush=True)
    return code


def read_failure(path: Path) -> Failure | None:
    """What a rank has left; None where there is nothing, or nothing whole."""
    try:
        extra = json.loads(path.read_text(encoding="utf-8"))["message"]["extraInfo"]
        return Failure(extra["py_callstack"], extra["at_ns"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _leave(path: Path, text: str) -> None:
    now = time.time_ns()
    extra = {"py_callstack": text, "timestamp": str(now // 10**9), "at_ns": now}
    with contextlib.suppress(OSError):  # the exit code tells as well that it failed
        path.write_text(json.dumps({"message": {"message": text, "extraInfo": extra}}), encoding="utf-8")


def _wait_for_turn() -> None:
    """Under torchrun every rank finds the user's mistake, and one shall say it: rank 0, whose end ends the others while
    they wait here. What only another rank can find, as a file that one host lacks, is said by that one."""
    turn = 0 if os.environ.get("RANK", "0") == "0" else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    if turn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(turn * TURN_S)
