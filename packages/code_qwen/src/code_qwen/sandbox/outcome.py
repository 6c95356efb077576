"""Requests to the sandbox and its answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Beyond a limit, the program ends or its call fails."""

    cpu_seconds: float = 10.0  # of each process
    wall_seconds: float = 10.0  # of all of them
    memory_bytes: int = 1024 * MB  # address space of each process, and resident memory of all of them
    processes: int = 64  # and threads; without a way to count them, none may be started
    file_bytes: int = 32 * MB  # each file; the temporary directory holds twice as much
    output_bytes: int = MB  # of stdout and of stderr, each

    def __post_init__(self) -> None:
        for name, field in self.__dataclass_fields__.items():
            value = getattr(self, name)
            if not 0 < value < 1 << 53:
                raise ValueError(f"Limits.{name} must be positive, not {value}")
            if field.type == "int":  # accept 1e9 for bytes
                object.__setattr__(self, name, max(1, int(value)))


class Outcome(StrEnum):
    FINISHED = "finished"
    PASSED = "passed"  # all tests ran (`run_tests`)
    FAILED = "failed"  # another exit code, a failed test, or no test reached
    TIMEOUT = "timeout"
    MEMORY = "memory"
    OUTPUT = "output"
    CRASH = "crash"  # killed by a signal, or never started


@dataclass(frozen=True, slots=True)
class Execution:
    outcome: Outcome
    exit_code: int | None
    signal: int | None
    stdout: str  # cut at the limit; invalid UTF-8 is replaced
    stderr: str
    wall_seconds: float
    reason: str  # one short line for people


@dataclass(frozen=True, slots=True)
class Verdict:
    outcome: Outcome
    reason: str  # one short line for people
    wall_seconds: float = 0.0

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED


@dataclass(frozen=True, slots=True)
class Submission:
    """A program, `prompt + completion`, and its tests. `prompt` and `test` are trusted, `completion` is not.

    HumanEval's form: `test` defines `check(candidate)`, `entry_point` names the candidate. MBPP's form: no
    `entry_point`, and `test` is statements that call the program's names. `timeout`: seconds.
    """

    prompt: str
    completion: str
    test: str
    entry_point: str = ""
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class Program:
    text: str
    stdin: str = ""
    limits: Limits = Limits()
