"""How a process reports the error that ends it.

A rank that fails makes the others fail, too. So a rank under our launcher prints nothing; it leaves its message in a
file before its connections close, and the launcher prints the earliest.
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
from qwen_shared.text import escape_control_characters

TURN_S = 5.0  # a rank waits for another to report the same
_FILE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)


def report_failure(command: str, error: Exception) -> int:
    """Returns the exit code. Raises the error again if it is a bug of ours and no launcher reports it."""
    text, code = _explain(command, error)
    if text is None and not is_launched():
        raise error
    return report(text or "".join(traceback.format_exception(error)).rstrip(), code)


def report(text: str, code: int) -> int:
    """Prints the text or leaves it for the launcher; returns `code`."""
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
    """Under torchrun every rank finds a user error. Rank 0 prints it, and its exit ends the others. An error of another
    rank alone, such as a file missing on one host, is printed after the wait."""
    turn = 0 if os.environ.get("RANK", "0") == "0" else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    if turn:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(turn * TURN_S)
