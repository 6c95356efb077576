"""Removes directories that programs leave, even hostile ones: deep, unreadable, or replaced by a link."""

# By descriptors and the working directory: no path string is long enough for every path.
# ruff: noqa: PTH101, PTH106, PTH108, PTH110

from __future__ import annotations

import contextlib
import os
import tempfile


def open_folder(path: str) -> int:
    """Stays valid if a program renames the folder. Raises OSError, also for a link."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def remove(path: str, folder: int) -> None:
    """Empty the open folder; remove what is at `path`: the folder, or a link in its place."""
    with contextlib.suppress(OSError):
        _empty(folder)
    os.chdir("/")
    os.close(folder)
    for way in (os.rmdir, os.unlink):
        with contextlib.suppress(OSError):
            way(path)


def remove_stale() -> None:
    with os.scandir(tempfile.gettempdir()) as entries:
        found = list(entries)
    for entry in found:
        name, _, pid = entry.name.partition("-")
        pid = pid.partition("-")[0]
        if name != "box" or not pid.isdigit() or os.path.exists(f"/proc/{pid}"):
            continue
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_uid == os.geteuid():
                remove(entry.path, open_folder(entry.path))


def _empty(top: int) -> None:
    """Changes into each subfolder: any depth, without recursion or long paths. The process, whose working directory
    changes, must have one thread.
    """
    os.fchmod(top, 0o700)
    os.fchdir(top)
    names: list[str] = []
    waiting = [_remove_files()]
    while waiting:
        if waiting[-1]:
            names.append(waiting[-1].pop())
            os.chmod(names[-1], 0o700)
            os.chdir(names[-1])
            waiting.append(_remove_files())
        else:
            waiting.pop()
            if names:
                os.chdir("..")
                os.rmdir(names.pop())


def _remove_files() -> list[str]:
    with os.scandir() as entries:
        found = list(entries)
    for entry in found:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name)
    return [entry.name for entry in found if entry.is_dir(follow_symlinks=False)]
