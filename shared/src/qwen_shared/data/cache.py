"""Directories that are built once, and are complete or absent, even if several processes build them or die."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from qwen_shared.files import flush

_ALIVE = ".alive"


def build_once(directory: Path, build: Callable[[Path], None], is_complete: Callable[[Path], bool]) -> None:
    """Makes `directory` by `build(temporary directory)`, unless `is_complete(directory)`.

    The temporary directory is renamed when everything is on disk. Its builder holds a file lock in it, and leftovers of
    dead builders are removed here. If two processes build the same directory, both use the first one finished.
    """
    if is_complete(directory):
        return
    parent = directory.parent
    parent.mkdir(parents=True, exist_ok=True)
    temporary = parent / f".{directory.name}.{uuid.uuid4().hex[:12]}.tmp"
    with _locked(parent / ".lock"):
        _remove_leftovers(parent)
        temporary.mkdir()
        alive = (temporary / _ALIVE).open("w")
        _lock(alive)
    try:
        build(temporary)
        flush(temporary)
        with _locked(parent / ".lock"):
            if is_complete(directory):
                return
            shutil.rmtree(directory, ignore_errors=True)  # damaged
            (temporary / _ALIVE).unlink()
            temporary.rename(directory)
        flush(parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        alive.close()


def _remove_leftovers(parent: Path) -> None:
    for path in parent.glob(".*.tmp"):
        # The lock is free only if the builder is dead.
        with contextlib.suppress(OSError):
            if (path / _ALIVE).exists():
                with (path / _ALIVE).open("w") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        _lock(file)
        yield


def _lock(file: IO) -> None:
    # Some network file systems have no locks. Building works without, since names are unique and the last step is one
    # rename; only leftovers may stay.
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
