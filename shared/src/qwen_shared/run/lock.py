"""Locks: one command at a time works on a run directory or on a publishing target."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from qwen_shared.errors import UserError


@contextlib.contextmanager
def lock_run(run_dir: Path) -> Iterator[None]:
    """Holds the run's lock until the process ends. Raises UserError if another process holds it or nothing can be
    written."""
    with _lock(
        run_dir / ".lock",
        lambda other: f"{run_dir}: {other} is working on this run; wait for it, or take another run",
    ):
        yield


@contextlib.contextmanager
def lock_target(directory: Path) -> Iterator[None]:
    """Holds a directory that is to be replaced, by a file beside it that is removed at the end. Raises UserError as
    `lock_run` does."""
    path = directory.with_name(f".{directory.name}.lock")
    with _lock(path, lambda other: f"{directory} is being published by {other}; wait for it, or give another target"):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # still locked; see `_lock`


@contextlib.contextmanager
def _lock(path: Path, taken: Callable[[str], str]) -> Iterator[None]:
    """`taken` makes the error message from the holder's name."""
    file = _open(path)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read().strip() or "unknown"
            raise UserError(taken(f"another process (pid {holder})")) from None
        except OSError:  # a file system without locks must not stop the run
            break
        if _is_there(file, path):
            break
        file.close()  # its holder removed it after we opened it
        file = _open(path)
    with file:
        with contextlib.suppress(OSError):  # the pid is a courtesy; the disk may be full
            file.truncate(0)
            os.write(file.fileno(), f"{os.getpid()}\n".encode())
        yield


def _open(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{error.filename}: cannot be written: {error.strerror}") from None


def _is_there(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
