"""The caller's side: distributes programs and tests to supervisor processes."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from code_qwen.sandbox.box import environment
from code_qwen.sandbox.outcome import Execution, Limits, Outcome, Program, Submission, Verdict

_START_SECONDS = 60.0
_SLACK = 60.0  # after a job's own time, before its supervisor is given up
_IDLE = 8
_LONGEST_POLL = 1e5  # seconds; poll() takes milliseconds in 32 bits


class SupervisorProcess:
    """Not thread-safe."""

    def __init__(self, mechanisms: dict[str, Any] | None):
        self.mechanisms = mechanisms
        paths = [str(Path(__file__).resolve().parents[2])]
        code = f"import sys; sys.path[:0] = {paths!r}; from code_qwen.sandbox.supervisor import main; sys.exit(main())"
        # A socket: a program of the same user could open a pipe by its name in /proc.
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [_python(), "-I", "-S", "-B", "-c", code],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment(_temporary()),
                start_new_session=True,
            )
        _all.add(self)
        self._buffer = bytearray()
        self.is_ready = False
        self.ask({"probe": True} if mechanisms is None else mechanisms)

    def fileno(self) -> int:
        return self.socket.fileno()

    def ask(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        with contextlib.suppress(OSError):
            self.socket.sendall(struct.pack("=I", len(data)) + data, socket.MSG_NOSIGNAL)

    def fill(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            data = b""
        self._buffer += data
        return bool(data)

    def message(self) -> dict[str, Any] | None:
        if len(self._buffer) < 4:
            return None
        length = struct.unpack("=I", self._buffer[:4])[0]
        if len(self._buffer) < 4 + length:
            return None
        data = self._buffer[4 : 4 + length]
        del self._buffer[: 4 + length]
        return json.loads(data)

    def wait(self, seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + seconds
        while (message := self.message()) is None:
            left = deadline - time.monotonic()
            if left <= 0 or not _readable([self], left) or not self.fill():
                return None
        return message

    def close(self) -> None:
        self.hang_up()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.socket.close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class _Idle:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.supervisors: list[SupervisorProcess] = []

    def take(self, mechanisms: dict[str, Any]) -> SupervisorProcess:
        with self.lock:
            for supervisor in list(self.supervisors):
                if supervisor.mechanisms == mechanisms:
                    self.supervisors.remove(supervisor)
                    if supervisor.process.poll() is None:
                        return supervisor
                    supervisor.close()
        return SupervisorProcess(mechanisms)

    def give(self, supervisor: SupervisorProcess) -> None:
        with self.lock:
            if len(self.supervisors) < _IDLE and supervisor.process.poll() is None:
                self.supervisors.append(supervisor)
                return
        supervisor.close()

    def close(self) -> None:
        with self.lock:
            supervisors, self.supervisors = self.supervisors, []
        for supervisor in supervisors:
            supervisor.hang_up()
        for supervisor in supervisors:
            supervisor.close()

    def forget(self) -> None:
        """In a forked child, which only closes its copies of the parent's sockets."""
        self.lock = threading.Lock()
        for supervisor in list(_all):
            supervisor.process.returncode = 0  # else its destructor would wait for another process's child
            supervisor.socket.close()
        self.supervisors = []


_all: weakref.WeakSet[SupervisorProcess] = weakref.WeakSet()
_idle = _Idle()
atexit.register(_idle.close)
os.register_at_fork(after_in_child=_idle.forget)


def run_many(
    programs: Iterable[str | Program],
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    progress: Callable[[int, int], None] | None = None,
) -> list[Execution]:
    """One execution for each program, in order.

    `workers`: programs at a time (default: the cores). `limits`: for programs given as str. `progress(done, all)` is
    called in this thread. Raises as `run`, before any work.
    """
    jobs = [program if isinstance(program, Program) else Program(program, "", limits) for program in programs]
    for job in jobs:
        _check_texts(text=job.text, stdin=job.stdin)
    requests = [{"kind": "run", **dataclasses.asdict(job)} for job in jobs]
    seconds = [job.limits.wall_seconds for job in jobs]
    crashed = {"exit_code": None, "signal": None, "stdout": "", "stderr": ""}
    answers = _work(requests, seconds, workers, progress)
    return [Execution(**{**crashed, **answer, "outcome": Outcome(answer["outcome"])}) for answer in answers]


def run_tests_many(
    submissions: Iterable[Submission],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """One verdict for each submission, in order. `workers` and `progress` as in `run_many`.

    Raises, before any work: TypeError if a text is not a str, ValueError if a timeout is not positive, UserError if
    this machine has no sandbox.
    """
    submissions = list(submissions)
    for one in submissions:
        _check_texts(prompt=one.prompt, completion=one.completion, test=one.test, entry_point=one.entry_point)
        Limits(wall_seconds=one.timeout)
    requests = [{"kind": "run_tests", **dataclasses.asdict(one)} for one in submissions]
    answers = _work(requests, [one.timeout for one in submissions], workers, progress)
    return [Verdict(**{**answer, "outcome": Outcome(answer["outcome"])}) for answer in answers]


def _check_texts(**texts: Any) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{name} must be str, not {type(text).__name__}")


def _work(
    requests: Sequence[dict[str, Any]],
    seconds: Sequence[float],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """In order. If a supervisor dies, its request is tried once more, then is a crash."""
    if not requests:
        return []
    mechanisms = available_mechanisms()
    answers: list[dict[str, Any] | None] = [None] * len(requests)
    waiting = list(reversed(range(len(requests))))
    tries = [0] * len(requests)
    working: dict[SupervisorProcess, int] = {}
    deadlines: dict[SupervisorProcess, float] = {}
    done = 0

    def start(supervisor: SupervisorProcess) -> None:
        number = working[supervisor] = waiting.pop()
        tries[number] += 1
        deadlines[supervisor] = time.monotonic() + seconds[number] + _SLACK
        supervisor.ask(requests[number])

    def finish(number: int, answer: dict[str, Any]) -> None:
        nonlocal done
        answers[number] = answer
        done += 1
        if progress is not None:
            progress(done, len(requests))

    try:
        for _ in range(max(1, min(workers or _cores(), len(requests)))):
            start(_ready_supervisor(mechanisms))
        while working:
            left = max(0.0, min(deadlines[supervisor] for supervisor in working) - time.monotonic())
            for supervisor in _readable(working, left):
                is_alive = supervisor.fill()
                if (answer := supervisor.message()) is not None:
                    finish(working.pop(supervisor), answer)
                elif not is_alive:
                    deadlines[supervisor] = 0.0
                    continue
                else:
                    continue
                if waiting:
                    start(supervisor)
                else:
                    _idle.give(supervisor)
            for supervisor in [supervisor for supervisor in working if deadlines[supervisor] <= time.monotonic()]:
                number = working.pop(supervisor)
                supervisor.process.kill()
                supervisor.close()
                if tries[number] < 2:
                    waiting.append(number)
                else:
                    finish(number, {"outcome": "crash", "reason": "the sandbox itself ended", "wall_seconds": 0.0})
                if waiting:
                    start(_ready_supervisor(mechanisms))
    finally:
        for supervisor in working:
            supervisor.close()
    return answers  # type: ignore[return-value]


def _ready_supervisor(mechanisms: dict[str, Any]) -> SupervisorProcess:
    supervisor = _idle.take(mechanisms)
    if not supervisor.is_ready:
        supervisor.is_ready = supervisor.wait(_START_SECONDS) == {"ready": True}
        if not supervisor.is_ready:
            supervisor.close()
            raise RuntimeError("the sandbox's own process does not start")
    return supervisor


@functools.cache
def available_mechanisms() -> dict[str, Any]:
    """The result of `probe`, once in a process."""
    if sys.platform != "linux":
        from qwen_shared.errors import UserError

        raise UserError(f"sandbox: needs Linux, this is {sys.platform}; evaluate on a Linux machine or in a container")
    supervisor = SupervisorProcess(None)
    mechanisms = supervisor.wait(_START_SECONDS)
    supervisor.close()
    if mechanisms is None:
        raise RuntimeError("the sandbox's own process does not start")
    if "error" in mechanisms:
        from qwen_shared.errors import UserError

        raise UserError(f"sandbox: this machine cannot run programs apart: {mechanisms['error']}")
    return mechanisms


def _readable(supervisors: Iterable[SupervisorProcess], seconds: float) -> list[SupervisorProcess]:
    poll = select.poll()  # unlike select(), for any number of descriptors
    by_descriptor = {supervisor.fileno(): supervisor for supervisor in supervisors}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(min(seconds, _LONGEST_POLL) * 1000 + 1)]


def _python() -> str:
    """The base interpreter: a virtual environment adds packages that no program needs."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _temporary() -> str:
    """For boxes without their own file system; open to other users if possible."""
    if os.access("/tmp", os.W_OK | os.X_OK):
        return "/tmp"
    try:
        return tempfile.gettempdir()
    except OSError:
        return "/tmp"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
