"""Killable worker processes for the pairs that need sympy.

A worker is a fresh interpreter without its parent's threads, modules and environment (secrets). Its end costs the
verdict on one pair. Idle workers wait for the next call.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from math_qwen.verify.verdict import Outcome, Verdict

START_SECONDS = 60.0  # of a start with sympy; never part of a pair's time
_GRACE = 10.0  # after a pair's time, before the parent kills the worker; the kernel has long ended the pair
_KEPT_IDLE = 4

Pair = tuple[int, str, str]  # number, gold, prediction


class Worker:
    """For one thread at a time. At `deadline` its parent gives up."""

    def __init__(self) -> None:
        package = Path(__file__).parents[2]
        paths = [str(package), *(entry for entry in sys.path if entry and Path(entry).is_absolute())]
        keep = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "VIRTUAL_ENV", "LD_LIBRARY_PATH")
        environment = {name: os.environ[name] for name in keep if name in os.environ}
        environment |= {"PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "math_qwen.verify.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
            bufsize=0,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._stdin, self._stdout = self.process.stdin, self.process.stdout
        self.is_ready = False
        self.deadline = time.monotonic() + START_SECONDS
        self._buffer = b""
        self._asked = 0

    def fileno(self) -> int:
        return self._stdout.fileno()

    def ask(self, gold: str, prediction: str, seconds: float, bare: bool) -> None:
        """A dead worker shows at the next `fill`."""
        self._asked += 1
        self.deadline = time.monotonic() + seconds + _GRACE
        data = json.dumps([self._asked, gold, prediction, seconds, bare]).encode()
        with contextlib.suppress(OSError, ValueError):
            _write(self._stdin.fileno(), struct.pack(">I", len(data)) + data, self.deadline)

    def fill(self) -> bool:
        """False at the pipe's end."""
        try:
            data = os.read(self.fileno(), 1 << 16)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def message(self) -> list[str] | None:
        """["ready"], or [outcome, reason] of the last pair. Drops messages about earlier pairs."""
        while len(self._buffer) >= 4:
            end = 4 + struct.unpack(">I", self._buffer[:4])[0]
            if len(self._buffer) < end:
                return None
            message = json.loads(self._buffer[4:end])
            self._buffer = self._buffer[end:]
            if message == ["ready"]:
                self.is_ready = True
                return message
            if message[0] in (-1, self._asked):
                return message[1:]
        return None

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # with its forked child
        self.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)

    def close(self) -> None:
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()


class _Idle:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[Worker] = []

    def take(self) -> Worker | None:
        with self.lock:
            while self.workers:
                worker = self.workers.pop()
                if worker.process.poll() is None:
                    return worker
                worker.kill()
        return None

    def give(self, worker: Worker) -> None:
        with self.lock:
            if len(self.workers) < _KEPT_IDLE and worker.process.poll() is None:
                self.workers.append(worker)
                return
        worker.kill()

    def kill_all(self) -> None:
        with self.lock:
            while self.workers:
                self.workers.pop().kill()

    def forget(self) -> None:
        """In a forked child, which owns only its pipe ends."""
        self.lock = threading.Lock()
        for worker in self.workers:
            worker.process.returncode = 0  # else its destructor would wait for another process's child
            worker.close()
        self.workers = []


def _new_slots() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(8, 2 * (os.cpu_count() or 1)))


_idle = _Idle()
_slots = _new_slots()  # workers that threads calling `prove` hold at once
atexit.register(_idle.kill_all)


def _after_fork() -> None:
    global _slots
    _idle.forget()
    _slots = _new_slots()


os.register_at_fork(after_in_child=_after_fork)


def prove(gold: str, prediction: str, timeout: float, bare: bool = False) -> Verdict:
    """Raises RuntimeError as `run`."""
    with _slots:
        [(_, verdict)] = run([(0, gold, prediction)], 1, timeout, bare)
    return verdict


def run(pairs: Iterable[Pair], workers: int, timeout: float, bare: bool = False) -> Iterator[tuple[int, Verdict]]:
    """(number, verdict) of every pair, as they come.

    A pair's time starts when a ready worker takes it. Raises RuntimeError if more than three starts in a row per worker
    fail: that says nothing about an answer.
    """
    source = iter(pairs)
    again: list[Pair] = []  # their worker never became ready
    running: dict[Worker, Pair] = {}
    free: list[Worker] = []
    failed_starts = 0
    try:
        while True:
            while len(running) < workers and (pair := again.pop() if again else next(source, None)) is not None:
                worker = _take(free)
                running[worker] = pair
                if worker.is_ready:
                    worker.ask(*pair[1:], timeout, bare)
            if not running:
                return
            seconds = min(worker.deadline for worker in running) - time.monotonic()
            readable = _readable(running, seconds)
            now = time.monotonic()
            for worker in list(running):
                number, gold, prediction = running[worker]
                alive = worker.fill() if worker in readable else now <= worker.deadline
                message = worker.message()
                if message == ["ready"]:
                    failed_starts = 0
                    worker.ask(gold, prediction, timeout, bare)
                elif message is not None:
                    del running[worker]
                    free.append(worker)
                    yield number, Verdict(Outcome(message[0]), message[1])
                elif not alive:
                    del running[worker]
                    worker.kill()
                    if worker.is_ready and worker in readable:
                        yield number, Verdict(Outcome.CRASH, "the process died")
                    elif worker.is_ready:
                        yield number, Verdict(Outcome.TIMEOUT, "out of time")
                    else:
                        failed_starts += 1
                        if failed_starts > 3 * workers:
                            raise RuntimeError(_why_no_start(worker, worker in readable))
                        again.append((number, gold, prediction))
    finally:
        for worker in running:
            worker.kill()
        for worker in free:
            _idle.give(worker)


def _take(free: list[Worker]) -> Worker:
    while free:
        worker = free.pop()
        if worker.process.poll() is None:
            return worker
        worker.kill()
    return _idle.take() or Worker()


def _readable(workers: Iterable[Worker], seconds: float) -> list[Worker]:
    poll = select.poll()  # select.select fails beyond 1,024 open files
    by_descriptor = {worker.fileno(): worker for worker in workers}
    for descriptor in by_descriptor:
        poll.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in poll.poll(max(0.0, seconds) * 1000)]


def _why_no_start(worker: Worker, died: bool) -> str:
    how = f"it ended with exit code {worker.process.returncode}" if died else f"not ready after {START_SECONDS:g} s"
    return f"math_qwen.verify cannot start a worker process: {how}"


def _write(descriptor: int, data: bytes, deadline: float) -> None:
    """Raises OSError at the deadline: the reader may have stopped."""
    view = memoryview(data)
    os.set_blocking(descriptor, False)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0:
                raise
            poll = select.poll()
            poll.register(descriptor, select.POLLOUT)
            poll.poll(left * 1000)
