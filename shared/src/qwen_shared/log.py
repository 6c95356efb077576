"""Our messages go to the console and the log file, those of libraries only to the file."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from qwen_shared.errors import Stopped, UserError
from qwen_shared.launched import LAUNCHER_PID

_log = logging.getLogger("qwen")


def say(text: str) -> None:
    """For the console (rank 0) and the log file."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # a file name may not be text
    if os.environ.get("RANK", "0") == "0":
        show(text)
    _log.info(text)


def note(text: str) -> None:
    """For the log file."""
    _log.info(text)


def show(text: str) -> None:
    """For the console. If nobody reads it any more (`| head`, a full disk) the work goes on."""
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def log_file(run_dir: Path | None) -> Iterator[None]:
    """Inside, warnings, logging and Python's stderr go to run_dir/log.txt (rank r > 0: logs/rank-r.txt), or nowhere
    without a run. Exceptions are logged and pass through.

    Enter it before importing torch, which warns. Raises UserError if the file cannot be written.
    """
    with _open(run_dir) as log:
        handler = logging.StreamHandler(log)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        _log.setLevel(logging.INFO)
        try:
            # also for libraries' own handlers
            with contextlib.redirect_stderr(log), _native_stderr(log):
                yield
        except (Stopped, UserError, KeyboardInterrupt) as ending:
            _log.info(f"{type(ending).__name__}: {ending}")
            raise
        except BaseException:
            _log.exception("ended by an error")
            raise
        finally:
            root.removeHandler(handler)


@contextlib.contextmanager
def _open(run_dir: Path | None) -> Iterator[TextIO | _Log]:
    if run_dir is None:
        with Path(os.devnull).open("w", encoding="utf-8", errors="backslashreplace") as nowhere:
            yield nowhere
        return
    rank = os.environ.get("RANK", "0")
    path = run_dir / "log.txt" if rank == "0" else run_dir / "logs" / f"rank-{rank}.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = _Log(path.open("a", encoding="utf-8", errors="backslashreplace", buffering=1), sys.stderr)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    # Left open: libraries' handlers may write until the process ends.
    yield log


@contextlib.contextmanager
def _native_stderr(log: TextIO | _Log) -> Iterator[None]:
    """Under our launcher, which reports failures, stderr of native code and of child processes goes to the log too."""
    if LAUNCHER_PID not in os.environ or not isinstance(log, _Log):
        yield
        return
    console = os.dup(2)
    os.dup2(log.own_fileno(), 2)
    try:
        yield
    finally:
        os.dup2(console, 2)
        os.close(console)


class _Log(io.TextIOBase):
    """In place of stderr; `fileno` is stderr's, for faulthandler."""

    def __init__(self, file: TextIO, stderr: TextIO):
        self._file, self._stderr = file, stderr

    def write(self, text: str) -> int:
        # A warning on a full disk must not end a run.
        with contextlib.suppress(OSError, ValueError):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._file.flush()

    def fileno(self) -> int:
        return self._stderr.fileno()

    def own_fileno(self) -> int:
        return self._file.fileno()

    def writable(self) -> bool:
        return True
