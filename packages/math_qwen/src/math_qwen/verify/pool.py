"""Killable processes that judge pairs. What ends one of them ends one pair, and nothing else.

The caller's process does what is provably short; a pair that needs sympy goes to a worker, a fresh interpreter that
shares nothing with its parent: no threads, no environment, no modules. Workers are kept between calls.
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
from pathlib import Path

from math_qwen.verify.verdict import Outcome, Verdict

START_SECONDS = 60.0  # for an interpreter with sympy on a busy machine, where many pairs wait for it
_GRACE = 0.3  # after a pair's time, before the parent kills what the kernel should have ended
_IDLE = 4  # workers kept


class Worker:
    """One process. Not for two threads at once."""

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
        self.is_ready = False
        self._buffer = b""
        self._asked = 0

    def fileno(self) -> int:
        return self.process.stdout.fileno()

    def wait_ready(self, seconds: float) -> bool:
        if not self.is_ready:
            self.is_ready = self.read(seconds) == ["ready"]
        return self.is_ready

    def ask(self, gold: str, prediction: str, seconds: float, bare: bool = False) -> bool:
        """Send a pair. False where the worker is gone."""
        self._asked += 1
        data = json.dumps([self._asked, gold, prediction, seconds, bare]).encode()
        try:
            _write(self.process.stdin.fileno(), struct.pack(">I", len(data)) + data, seconds + 1)
        except (OSError, ValueError):
            return False
        return True

    def read(self, seconds: float) -> list | None:
        """The next message, or None where none came in time or the worker died."""
        deadline = time.monotonic() + seconds
        while True:
            message = self.message()
            if message is not None:
                return message
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.fileno()], [], [], left)[0] or not self.fill():
                return None

    def fill(self) -> bool:
        """Take what the pipe holds. False at its end."""
        try:
            data = os.read(self.fileno(), 1 << 16)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def message(self) -> list | None:
        """["ready"] or [outcome, reason] of the pair asked last; what belongs to an earlier one is passed over."""
        while len(self._buffer) >= 4:
            length = struct.unpack(">I", self._buffer[:4])[0]
            if len(self._buffer) < 4 + length:
                return None
            data, self._buffer = self._buffer[4 : 4 + length], self._buffer[4 + length :]
            message = json.loads(data)
            if message == ["ready"]:
                return message
            if message[0] in (-1, self._asked):
                return message[1:]
        return None

    def cause_of_death(self) -> Verdict:
        """What ended it. For a worker that gave no answer, dead or alive."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.05)
        code = self.process.poll()
        self.kill()
        if code is None:
            return Verdict(Outcome.TIMEOUT, "out of time")
        return Verdict(Outcome.CRASH, "the process died")

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            if self.process.returncode is None:
                os.killpg(self.process.pid, signal.SIGKILL)  # with the child that judges
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)


class _Idle:
    """Workers that wait for the next pair, of this process only."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.workers: list[Worker] = []

    def take(self) -> Worker:
        with self.lock:
            while self.workers:
                worker = self.workers.pop()
                if worker.process.poll() is None:
                    return worker
                worker.kill()
        return Worker()

    def give(self, worker: Worker) -> None:
        with self.lock:
            if len(self.workers) < _IDLE and worker.process.poll() is None:
                self.workers.append(worker)
                return
        worker.kill()

    def close(self) -> None:
        with self.lock:
            while self.workers:
                self.workers.pop().kill()

    def forget(self) -> None:
        """In a forked child: the workers are the parent's. Only this process's ends of their pipes are closed."""
        self.lock = threading.Lock()
        for worker in self.workers:
            worker.process.returncode = 0  # so that no destructor waits for another process's child
            for pipe in (worker.process.stdin, worker.process.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()
        self.workers = []


_idle = _Idle()
_places = threading.BoundedSemaphore(max(8, 2 * (os.cpu_count() or 1)))
atexit.register(_idle.close)


def _after_fork() -> None:
    global _places
    _idle.forget()
    _places = threading.BoundedSemaphore(max(8, 2 * (os.cpu_count() or 1)))


os.register_at_fork(after_in_child=_after_fork)


def prove(gold: str, prediction: str, timeout: float, bare: bool = False) -> Verdict:
    """The verdict of a worker, `timeout` seconds after it starts on the pair, at most timeout + 1 after the call.

    A thread that finds every worker's place taken waits for one first.
    """
    with _places:
        began = time.monotonic()
        worker = _idle.take()
        if not worker.wait_ready(timeout + 0.6):
            if worker.process.poll() is None:
                # Still importing: of use to the next call.
                _idle.give(worker)
                return Verdict(Outcome.TIMEOUT, "no worker was ready in time")
            worker.kill()
            return Verdict(Outcome.CRASH, "the worker did not start")
        # Starting may take the extra second, no more.
        seconds = max(0.05, min(timeout, timeout + 0.6 - (time.monotonic() - began)))
        asked = worker.ask(gold, prediction, seconds, bare)
        answer = worker.read(seconds + _GRACE) if asked else None
        if answer is None:
            return worker.cause_of_death()
        _idle.give(worker)
        return Verdict(Outcome(answer[0]), answer[1])


class Pool:
    """Several workers on a queue of pairs. `run` yields (number, verdict) as they come."""

    def __init__(self, workers: int):
        self.count = max(1, workers)

    def run(self, pairs, timeout: float):
        """`pairs`: an iterable of (number, gold, prediction). Every one of them is yielded once."""
        source = iter(pairs)
        waiting: list[tuple[int, str, str]] = []  # pairs whose worker died before it looked at them
        running: dict[Worker, list[tuple[int, str, str]]] = {}
        deadlines: dict[Worker, float] = {}
        failures = 0
        try:
            while True:
                while len(running) < self.count:
                    batch = self._batch(source, waiting, 1)
                    if not batch:
                        break
                    worker = _idle.take()
                    running[worker] = batch
                    if worker.is_ready:
                        self._start(worker, batch, timeout, deadlines)
                    else:
                        deadlines[worker] = time.monotonic() + START_SECONDS
                if not running:
                    return
                left = min(deadlines.values()) - time.monotonic()
                ready = select.select(list(running), [], [], max(0.0, left))[0]
                for worker in ready:
                    alive = worker.fill()
                    while running[worker] and (message := worker.message()) is not None:
                        if message == ["ready"]:
                            worker.is_ready = True
                            failures = 0
                            self._start(worker, running[worker], timeout, deadlines)
                            continue
                        number, _, _ = running[worker].pop(0)
                        yield number, Verdict(Outcome(message[0]), message[1])
                        running[worker] += self._batch(source, waiting, 1)
                        if running[worker]:
                            self._start(worker, running[worker], timeout, deadlines)
                    if not alive:
                        left_over = running.pop(worker)
                        deadlines.pop(worker)
                        if not worker.is_ready:
                            failures += 1
                            if failures > 3 * self.count:
                                raise RuntimeError("no worker process can be started")
                            waiting += left_over
                            worker.kill()
                        elif left_over:
                            yield left_over[0][0], worker.cause_of_death()
                            waiting += left_over[1:]
                        else:
                            worker.kill()
                    elif not running[worker]:
                        running.pop(worker)
                        deadlines.pop(worker)
                        _idle.give(worker)
                now = time.monotonic()
                for worker in [w for w, deadline in deadlines.items() if now > deadline]:
                    left_over = running.pop(worker)
                    deadlines.pop(worker)
                    worker.kill()
                    if not worker.is_ready:
                        failures += 1
                        if failures > 3 * self.count:
                            raise RuntimeError("no worker process can be started")
                        waiting += left_over
                    else:
                        yield left_over[0][0], Verdict(Outcome.TIMEOUT, "out of time")
                        waiting += left_over[1:]
        finally:
            for worker in running:
                worker.kill()

    def _start(self, worker: Worker, batch: list, timeout: float, deadlines: dict) -> None:
        _, gold, prediction = batch[0]
        deadlines[worker] = time.monotonic() + timeout + _GRACE
        worker.ask(gold, prediction, timeout)  # a dead worker shows at the next read

    def _batch(self, source, waiting: list, size: int) -> list:
        batch = [waiting.pop(0) for _ in range(min(size, len(waiting)))]
        while len(batch) < size and (pair := next(source, None)) is not None:
            batch.append(pair)
        return batch


def _write(descriptor: int, data: bytes, seconds: float) -> None:
    """All of `data`, to a pipe whose reader may have stopped reading. Raises OSError where it does not take it in
    time.
    """
    deadline = time.monotonic() + seconds
    view = memoryview(data)
    os.set_blocking(descriptor, False)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [descriptor], [], left)[1]:
                raise
