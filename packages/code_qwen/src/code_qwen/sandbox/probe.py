"""Finds what confines a program on this machine by trying; versions and names prove nothing."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from code_qwen.sandbox import kernel, landlock, namespaces, seccomp
from code_qwen.sandbox.box import Box, Mechanisms, close, environment
from code_qwen.sandbox.outcome import Limits

_SECONDS = 30.0


def probe() -> dict:
    """The fields of `Mechanisms` for the strongest box that starts an interpreter, or {"error": why not}."""
    if not Path("/proc/self/stat").exists():
        return {"error": "/proc is not mounted"}
    for mechanisms in _from_the_strongest():
        if _in_child(functools.partial(_try, mechanisms)):
            return dataclasses.asdict(mechanisms)
    try:
        return {"error": f"no interpreter starts in {tempfile.gettempdir()}"}
    except OSError:
        return {"error": "no directory for temporary files can be written to"}


def _from_the_strongest() -> Iterator[Mechanisms]:
    version = landlock.version()
    has_filter = kernel.KNOWN and _in_child(_apply_filter)
    users = [*_other_users(), None]
    for user in users:
        yield Mechanisms(True, version, has_filter, user)
    for rules, filtered in dict.fromkeys(((version, has_filter), (0, has_filter), (version, False), (0, False))):
        for user in users:
            yield Mechanisms(False, rules, filtered, user)


def _other_users() -> list[int]:
    """User ids that no account should have; none if this process may not change its user."""
    if os.geteuid() != 0:
        return []
    return [1_900_000_000, 61_000]


def _try(mechanisms: Mechanisms) -> bool:
    if mechanisms.namespaces:
        namespaces.build_root()
    null = (
        os.open(os.devnull, os.O_RDWR)
        if not mechanisms.namespaces
        else os.open(f"{namespaces.ROOT}/dev/null", os.O_RDWR)
    )
    box = Box(mechanisms, Limits(), [null, null, null], _start_python)
    status = box.end(_SECONDS).status
    close([box])
    return status == 0


def _start_python(temporary: str) -> None:
    check = "import ctypes, json, math, re, tempfile; tempfile.TemporaryFile().close()"
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", check], environment(temporary))


def _apply_filter() -> bool:
    seccomp.apply(is_alone=True)
    return True


def _in_child(attempt: Callable[[], bool]) -> bool:
    """Whether `attempt` works in a child, where its effects stay."""
    pid = os.fork()
    if pid == 0:
        try:
            signal.alarm(int(_SECONDS) + 5)
            kernel.adopt_orphans()
            os._exit(0 if attempt() else 1)
        except BaseException:
            os._exit(1)
    return os.waitpid(pid, 0)[1] == 0
