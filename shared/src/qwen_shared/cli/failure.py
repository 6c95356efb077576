"""How a process that fails says so, and which of several failures is the cause of the others.

A rank that fails takes the others with it: they lose their peer and complain at length. So a rank under a launcher of
ours says nothing itself; it leaves its words in a file, before its connections close, and the launcher shows the
earliest.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from qwen_shared.errors import EXIT_USER_ERROR
from qwen_shared.launched import LAUNCHER_PID, is_shown, leave_failure

TURN_S = 5.0  # how long a rank leaves it to another one to say what both have found


def report(text: str, code: int) -> int:
    """Say why this process ends, or leave it to be said by its launcher; returns `code`."""
    foreign_mistake = code == EXIT_USER_ERROR and LAUNCHER_PID not in os.environ
    leave_failure("a mistake of the user's, said above" if foreign_mistake else text)
    if is_shown():
        return code
    if code == EXIT_USER_ERROR:
        _wait_for_turn()
    print(text, file=sys.stderr, flush=True)
    return code


def _wait_for_turn() -> None:
    """Under torchrun every rank finds the user's mistake, and one shall say it: rank 0, whose end ends the others while
    they wait here. What only another rank can find, as a file that one host lacks, is said by that one."""
    turn = 0 if os.environ.get("RANK", "0") == "0" else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    if turn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(turn * TURN_S)
