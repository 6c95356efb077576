"""Which guarantees the sandbox holds on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass

from code_qwen.sandbox import pool


@dataclass(frozen=True, slots=True)
class Guarantee:
    name: str
    held: bool
    how: str  # the mechanism, or what is missing
    needed: bool


def isolation() -> list[Guarantee]:
    """In a fixed order. Probes the machine once in a process."""
    mechanisms = pool.available_mechanisms()
    boxed, landlock, filtered = mechanisms["namespaces"], mechanisms["landlock"], mechanisms["seccomp"]
    other = mechanisms["user"] is not None
    # A program cannot read /proc/PID of this user's processes; of root's, because it lost root's capabilities.
    apart = boxed or landlock > 0 or other or os.geteuid() == 0

    def one(name: str, *ways: tuple[bool, str], missing: str, needed: bool = True) -> Guarantee:
        how = next((how for works, how in ways if works), None)
        return Guarantee(name, how is not None, how or missing, needed)

    return [
        one(
            "verdict",
            (apart, "the tests run in another process than the program"),
            missing="the tests run in another process, but programs can write this user's processes' memory",
        ),
        one(
            "environment",
            (apart, "empty but for PATH, LANG, HOME, TMPDIR and MALLOC_ARENA_MAX"),
            missing="empty, but programs can read that of this user's processes",
        ),
        one("time", (True, "CPU seconds of each process, wall seconds of all"), missing=""),
        one(
            "memory",
            (True, "address space of each process; all of them together looked at ten times a second"),
            missing="",
        ),
        one("output", (True, "cut and ended at the limit"), missing=""),
        one(
            "network",
            (boxed and filtered, "no interfaces (network namespace), no sockets (seccomp)"),
            (boxed, "no interfaces (network namespace)"),
            (filtered, "no sockets (seccomp)"),
            missing="programs can use the network",
        ),
        one(
            "reading files",
            (boxed, "only the interpreter, its library and the private directory are there (mount namespace)"),
            (landlock > 0, "only the interpreter, its library and the private directory open (Landlock)"),
            missing="programs can read what this user can read" if not other else "programs can read public files",
        ),
        one(
            "writing files",
            (boxed, "only the private directory, of limited size (mount namespace)"),
            (landlock > 2 and filtered, "only the private directory; limited file by file (Landlock, seccomp)"),
            (other, "as another user, who owns nothing"),
            missing="programs can write what this user can write",
        ),
        one(
            "disk",
            (boxed, "the private directory is memory of limited size"),
            missing="limited file by file, not in number",
            needed=False,
        ),
        one(
            "processes",
            (boxed, "counted by a user namespace of its own"),
            (filtered, "none can be started, threads apart (seccomp)"),
            (other, "counted for another user"),
            missing="a program may start as many as this user may",
        ),
        one(
            "orphans",
            (boxed, "all end with the box (process namespace)"),
            (filtered, "none can be started (seccomp)"),
            (True, "found as descendants of their supervisor and killed"),
            missing="",
        ),
        one(
            "signals and tracing",
            (boxed, "no other process can be named (process namespace)"),
            (filtered, "no process but itself can be named (seccomp)"),
            (other, "as another user"),
            missing="programs can end this user's processes",
        ),
    ]


def require_isolation() -> None:
    """Raises UserError if a guarantee that untrusted programs need is missing."""
    missing = [guarantee for guarantee in isolation() if guarantee.needed and not guarantee.held]
    if missing:
        from qwen_shared.errors import UserError

        said = "; ".join(f"{guarantee.name}: {guarantee.how}" for guarantee in missing)
        raise UserError(
            f"sandbox: this machine cannot isolate programs ({said}); run where user namespaces or Landlock and "
            "seccomp are allowed, or leave out --require-isolation"
        )
