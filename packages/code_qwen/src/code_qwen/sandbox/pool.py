"""Keepers at work on a list of jobs, from the side of whoever asks."""

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
from code_qwen.sandbox.outcome import Execution, Job, Judgement, Limits, Outcome, Program

_START_SECONDS = 60.0  # for a keeper on a busy machine
_SLACK = 60.0  # after a job's own time, before its keeper, which should have ended it, is given up
_IDLE = 8  # keepers that wait for the next call
_LONGEST_POLL = 1e5  # seconds; a poll counts milliseconds in 32 bits


class KeeperProcess:
    """One keeper. Not for two threads at once."""

    def __init__(self, means: dict[str, Any] | None):
        self.means = means
        paths = [str(Path(__file__).resolve().parents[2])]
        code = f"import sys; sys.path[:0] = {paths!r}; from code_qwen.sandbox.keeper import main; sys.exit(main())"
        # A socket, for a pipe could be opened by name, in /proc, by a program of the same user.
        self.socket, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(
                [_python(), "-I", "-S", "-B", "-c", code],
                stdin=theirs,
                stdout=theirs,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env=environment(_temporary()),
                start_new_session=True,
            )
        _all.add(self)
        self._buffer = bytearray()
        self.is_ready = False
        self.ask({"probe": True} if means is None else means)

    def fileno(self) -> int:
        return self.socket.fileno()

    def ask(self, message: dict[str, Any]) -> None:
        """A dead keeper shows at the next read."""
        data = json.dumps(message).encode()
        with contextlib.suppress(OSError):
            self.socket.sendall(struct.pack("=I", len(data)) + data, socket.MSG_NOSIGNAL)

    def fill(self) -> bool:
        """Take what the socket holds. False at its end."""
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
        """Its own way first: it ends its boxes. A keeper that is killed cannot."""
        self.hang_up()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.socket.close()

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)  # whoever else has it, by a fork


class _Idle:
    """Keepers that wait for the next job, of this process only."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.keepers: list[KeeperProcess] = []

    def take(self, means: dict[str, Any]) -> KeeperProcess:
        with self.lock:
            for keeper in list(self.keepers):
                if keeper.means == means:
                    self.keepers.remove(keeper)
                    if keeper.process.poll() is None:
                        return keeper
                    keeper.close()
        return KeeperProcess(means)

    def give(self, keeper: KeeperProcess) -> None:
        with self.lock:
            if len(self.keepers) < _IDLE and keeper.process.poll() is None:
                self.keepers.append(keeper)
                return
        keeper.close()

    def close(self) -> None:
        with self.lock:
            keepers, self.keepers = self.keepers, []
        for keeper in keepers:
            keeper.hang_up()  # all at once, then each
        for keeper in keepers:
            keeper.close()

    def forget(self) -> None:
        """In a forked child: the keepers are the parent's, those at work in its other threads too. Only this process's
        ends of their sockets are closed.
        """
        self.lock = threading.Lock()
        for keeper in list(_all):
            keeper.process.returncode = 0  # so that no destructor waits for another process's child
            keeper.socket.close()
        self.keepers = []


_all: weakref.WeakSet[KeeperProcess] = weakref.WeakSet()
_idle = _Idle()
atexit.register(_idle.close)
os.register_at_fork(after_in_child=_idle.forget)


def run_many(
    programs: Iterable[str | Program],
    workers: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
    progress: Callable[[int, int], None] | None = None,
) -> list[Execution]:
    """The executions of the programs, in their order, none left out.

    `workers`: programs at a time, by default one for each core. `limits`: of the programs that are given as mere texts.
    `progress(done, all)` is called in this thread after each program. Raises as `run`, before any work.
    """
    jobs = [program if isinstance(program, Program) else Program(program, "", limits) for program in programs]
    for job in jobs:
        _check_texts(text=job.text, stdin=job.stdin)
    questions = [{"kind": "run", **dataclasses.asdict(job)} for job in jobs]
    seconds = [job.limits.wall_seconds for job in jobs]
    crashed = {"exit_code": None, "signal": None, "stdout": "", "stderr": ""}
    answers = _work(questions, seconds, workers, progress)
    return [Execution(**{**crashed, **answer, "outcome": Outcome(answer["outcome"])}) for answer in answers]


def judge_many(
    jobs: Iterable[Job],
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Judgement]:
    """The judgements on the jobs, in their order, none left out. `workers` and `progress` as in `run_many`. Raises
    TypeError where a text is no str, ValueError where a timeout is not positive, UserError where the machine has no
    sandbox at all; before any work.
    """
    jobs = list(jobs)
    for job in jobs:
        _check_texts(prompt=job.prompt, completion=job.completion, test=job.test, entry_point=job.entry_point)
        Limits(wall_seconds=job.timeout)
    questions = [{"kind": "judge", **dataclasses.asdict(job)} for job in jobs]
    answers = _work(questions, [job.timeout for job in jobs], workers, progress)
    return [Judgement(**{**answer, "outcome": Outcome(answer["outcome"])}) for answer in answers]


def _check_texts(**texts: Any) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise TypeError(f"{name} must be str, not {type(text).__name__}")


def _work(
    questions: Sequence[dict[str, Any]],
    seconds: Sequence[float],
    workers: int | None,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    """Answers in the order of the questions. A keeper that dies costs its job a second try; a job that ends two of
    them is a crash.
    """
    if not questions:
        return []
    means = found_means()
    answers: list[dict[str, Any] | None] = [None] * len(questions)
    waiting = list(reversed(range(len(questions))))
    tries = [0] * len(questions)
    working: dict[KeeperProcess, int] = {}
    deadlines: dict[KeeperProcess, float] = {}
    done = 0

    def start(keeper: KeeperProcess) -> None:
        number = working[keeper] = waiting.pop()
        tries[number] += 1
        deadlines[keeper] = time.monotonic() + seconds[number] + _SLACK
        keeper.ask(questions[number])

    def finish(number: int, answer: dict[str, Any]) -> None:
        nonlocal done
        answers[number] = answer
        done += 1
        if progress is not None:
            progress(done, len(questions))

    try:
        for _ in range(max(1, min(workers or _cores(), len(questions)))):
            start(_ready_keeper(means))
        while working:
            left = max(0.0, min(deadlines[keeper] for keeper in working) - time.monotonic())
            for keeper in _readable(working, left):
                is_alive = keeper.fill()
                if (answer := keeper.message()) is not None:
                    finish(working.pop(keeper), answer)
                elif not is_alive:
                    deadlines[keeper] = 0.0
                    continue
                else:
                    continue
                if waiting:
                    start(keeper)
                else:
                    _idle.give(keeper)
            for keeper in [keeper for keeper in working if deadlines[keeper] <= time.monotonic()]:
                number = working.pop(keeper)
                keeper.process.kill()
                keeper.close()
                if tries[number] < 2:
                    waiting.append(number)
                else:
                    finish(number, {"outcome": "crash", "reason": "the sandbox itself ended", "wall_seconds": 0.0})
                if waiting:
                    start(_ready_keeper(means))
    finally:
        for keeper in working:
            keeper.close()
    return answers  # type: ignore[return-value]


def _ready_keeper(means: dict[str, Any]) -> KeeperProcess:
    keeper = _idle.take(means)
    if not keeper.is_ready:
        keeper.is_ready = keeper.wait(_START_SECONDS) == {"ready": True}
        if not keeper.is_ready:
            keeper.close()
            raise RuntimeError("the sandbox's own process does not start")
    return keeper


def found_means() -> dict[str, Any]:
    """What `probe` finds, once in a process."""
    if _forced is not None:
        return _forced
    return _probed()


@functools.cache
def _probed() -> dict[str, Any]:
    if sys.platform != "linux":
        from qwen_shared.errors import UserError

        raise UserError(f"sandbox: needs Linux, this is {sys.platform}; evaluate on a Linux machine or in a container")
    keeper = KeeperProcess(None)
    means = keeper.wait(_START_SECONDS)
    keeper.close()
    if means is None:
        raise RuntimeError("the sandbox's own process does not start")
    if "error" in means:
        from qwen_shared.errors import UserError

        raise UserError(f"sandbox: this machine cannot run programs apart: {means['error']}")
    return means


_forced: dict[str, Any] | None = None


@contextlib.contextmanager
def with_means(**means: Any):
    """Within it, weaker boxes than this machine could have: for tests of what other machines get."""
    global _forced
    before, _forced = _forced, {**found_means(), **means}
    try:
        yield
    finally:
        _forced = before


def _readable(keepers: Iterable[KeeperProcess], seconds: float) -> list[KeeperProcess]:
    """Those with an answer, or an end, to be read."""
    poll = select.poll()  # no limit on descriptors
    by_descriptor = {keeper.fileno(): keeper for keeper in keepers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(min(seconds, _LONGEST_POLL) * 1000 + 1)]


def _python() -> str:
    """The interpreter itself: a virtual environment's has packages beside it, which no program needs."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def _temporary() -> str:
    """Where boxes without a file system of their own have their directories: open to other users where possible."""
    if os.access("/tmp", os.W_OK | os.X_OK):
        return "/tmp"
    try:
        return tempfile.gettempdir()
    except OSError:
        return "/tmp"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
