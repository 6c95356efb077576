"""How a failing process reports its error, and which of several failures is the cause of the others.

A rank that fails makes the others fail too: they lose their peer and complain at length. So a rank under our launcher
prints nothing; it leaves its message in a file before its connections close, and the launcher prints the earliest.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import traceback

from qwen_shared.errors import EXIT_FAILED, EXIT_USER_ERROR, UserError
from qwen_shared.launched import LAUNCHER_PID, is_launched, is_shown, leave_failure
from qwen_shared.terminal import escape_control_characters

TURN_S = 5.0  # how long a rank waits for another to report what both have found
_FILE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)


def report_failure(command: str, error: Exception) -> int:
    """Reports the error that ends this process and returns the exit code. A bug of ours is raised again, with its
    traceback, unless a launcher reports it."""
    text, code = _explain(command, error)
    if text is None and not is_launched():
        raise error
    return report(text or "".join(traceback.format_exception(error)).rstrip(), code)


def report(text: str, code: int) -> int:
    """Prints why this process ends, or leaves it for the launcher to print; returns `code`."""
    foreign_launcher = code == EXIT_USER_ERROR and LAUNCHER_PID not in os.environ
    leave_failure("a user error, reported above" if foreign_launcher else text)
    if is_shown():
        return code
    if code == EXIT_USER_ERROR:
        _wait_for_turn()
    print(text, file=sys.stderr, flush=True)
    return code


def _explain(command: str, error: Exception) -> tuple[str | None, int]:
    """One line for the user, None for a bug of ours; and the exit code."""
    if isinstance(error, UserError):
        return escape_control_characters(f"{command}: error: {error}"), EXIT_USER_ERROR
    if isinstance(error, FloatingPointError):
        return f"{command}: failed: {error}", EXIT_FAILED
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        return f"{command}: error: {error.filename or 'standard output, or a file'}: {error.strerror}", EXIT_USER_ERROR
    return None, EXIT_FAILED


def _wait_for_turn() -> None:
    """Under torchrun every rank finds a user error, but only one should print it: rank 0, whose exit ends the others
    while they wait here. An error that only another rank finds, such as a file missing on one host, is printed later
    by that rank."""
    turn = 0 if os.environ.get("RANK", "0") == "0" else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    if turn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(turn * TURN_S)
