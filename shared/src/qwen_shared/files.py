"""Atomic writes, and the reasons why a write fails."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
_PROBE_BYTES = 1 << 20  # if these do not fit, the disk is full


def write_atomic(path: Path, content: str | bytes) -> None:
    """Readers see the whole old or new file, also after a crash. Raises OSError for `path`."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces `path` if the block ends without an error. Raises OSError for `path`."""
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.chmod(0o644)  # mkstemp lets only the owner read
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # not for the temporary name


def replace_directory(new: Path, target: Path) -> None:
    """Renames `new` to `target`, which may exist; one of them is always whole."""
    old = target.with_name(f".{target.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.replace(old)
    new.replace(target)
    shutil.rmtree(old, ignore_errors=True)


def flush(path: Path) -> None:
    """To the disk, before a rename."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def room_problem(directory: Path, needed: int) -> str | None:
    """A message if the disk of `directory` lacks `needed` bytes, else None. Quotas show only in `disk_problem`."""
    while not directory.exists():
        directory = directory.parent
    with contextlib.suppress(OSError):  # a file system that cannot tell
        free = shutil.disk_usage(directory).free
        if free < needed:
            return f"{os.strerror(errno.ENOSPC)}: {_size(needed)} are needed, {_size(free)} are free"
    return None


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def disk_problem(error: BaseException, directory: Path) -> str | None:
    """The system's reason why `directory` cannot be written, None if `error` has another cause.

    Libraries report an OSError, Rust's `os error 28`, or neither; then this tries to write.
    """
    if isinstance(error, OSError):
        return error.strerror if error.errno in _DISK_ERRORS else None
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return os.strerror(int(number[1])) if int(number[1]) in _DISK_ERRORS else None
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as refusal:
        return refusal.strerror
    return None
