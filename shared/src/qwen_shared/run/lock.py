"""One process (group) at a time works on a run directory, or on another place."""

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
    """Hold the run for this process; the system lets go of it when the process ends, however it ends.

    Raises UserError where another process holds it, and where the directory cannot be written.
    """
    with _lock(
        run_dir / ".lock",
        lambda other: f"{run_dir}: {other} is at work on this run; wait for it, or take another run",
    ):
        yield


@contextlib.contextmanager
def lock_target(directory: Path) -> Iterator[None]:
    """Hold a place outside any run, where a directory is put together and then replaced. The lock lies beside it, and
    goes when all is done.

    Raises UserError where another process holds it, and where nothing can be written there.
    """
    path = directory.with_name(f".{directory.name}.lock")
    with _lock(path, lambda other: f"{directory} is being published by {other}; wait for it, or give another place"):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)  # while it is held: who has opened it meanwhile finds it gone, see `_lock`


@contextlib.contextmanager
def _lock(path: Path, taken: Callable[[str], str]) -> Iterator[None]:
    """`taken` says what is the matter where another process has it; it is given that one's name."""
    file = _open(path)
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with file:
                file.seek(0)
                holder = file.read().strip() or "unknown"
            raise UserError(taken(f"another process (pid {holder})")) from None
        except OSError:  # a file system without locks: better to run than to refuse
            break
        if _is_there(file, path):
            break
        file.close()  # its holder took it away between our opening and our locking it
        file = _open(path)
    with file:
        with contextlib.suppress(OSError):  # the number is a courtesy, for which a full disk may have no room
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
