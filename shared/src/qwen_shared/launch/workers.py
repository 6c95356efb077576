"""The processes of one command on this machine, which start, stop and fail together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from qwen_shared.errors import EXIT_FINISHED, EXIT_STOPPED, UserError
from qwen_shared.launched import ERROR_FILE, LAUNCHER_PID, TIME_IS_UP, Failure, read_failure
from qwen_shared.text import escape_control_characters

POLL_S = 0.05
STOP_GRACE_S = 120.0  # after the first has stopped: others may still save
FAIL_GRACE_S = 5.0  # after the first has failed
KILL_GRACE_S = 5.0  # between SIGTERM and SIGKILL
REPEAT_S = 3.0  # a second signal at least this much later means "now"
TAIL_LINES = 30


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen[bytes]
    log: Path
    log_start: int
    error_file: Path


class Workers:
    """Ranks of `python -m package argv` on this machine. Leaving the `with` ends them.

    Rank 0 has the console; rank r > 0 appends to logs/rank-r.txt. Each worker is its own session, so a terminal's
    signals reach it only through `send`.
    """

    def __init__(self, package: str, argv: Sequence[str], logs: Path):
        self._command, self._logs = [sys.executable, "-m", package, *argv], logs
        self._workers: list[_Worker] = []
        self._running: list[_Worker] = []
        self._outcome: int | None = None
        self._deadline = 0.0
        self._stopping = False

    def __enter__(self) -> Workers:
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self._logs}: cannot be made: {error.strerror}") from None
        self._errors = tempfile.TemporaryDirectory(prefix="qwen-launch-")
        return self

    def __exit__(self, *_) -> None:
        self.end()
        self._errors.cleanup()

    def start(self, first_rank: int, count: int, world_size: int, common: Mapping[str, str]) -> list[int]:
        """Starts ranks from `first_rank` with the variables `common`; returns their pids. A single process gets no
        RANK: libraries would take it for one of several."""
        assert not self._running, "call `end` first"
        self._workers, self._outcome = [], None
        environment = {LAUNCHER_PID: str(os.getpid())}
        if world_size > 1:
            threads = str(max(1, _cpus() // count))
            environment |= {"WORLD_SIZE": str(world_size), "LOCAL_WORLD_SIZE": str(count), **common}
            environment["OMP_NUM_THREADS"] = os.environ.get("OMP_NUM_THREADS", threads)
        for local_rank in range(count):
            self._start(first_rank + local_rank, local_rank, world_size, environment)
        return [worker.process.pid for worker in self._workers]

    def _start(self, rank: int, local_rank: int, world_size: int, environment: dict[str, str]) -> None:
        error_file = Path(self._errors.name, f"rank-{rank}.json")
        error_file.unlink(missing_ok=True)
        env = os.environ | environment | {ERROR_FILE: str(error_file)}
        if world_size > 1:
            env |= {"RANK": str(rank), "LOCAL_RANK": str(local_rank)}
        if rank == 0:
            path = self._logs.parent / "log.txt"
            start = path.stat().st_size if path.is_file() else 0
            process = subprocess.Popen(self._command, env=env, start_new_session=True)
        else:
            path = self._logs / f"rank-{rank}.txt"
            with path.open("ab") as log:
                start = log.tell()
                process = subprocess.Popen(
                    self._command,
                    env=env,
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
        worker = _Worker(rank, process, path, start, error_file)
        self._workers.append(worker)
        self._running.append(worker)

    def send(self, number: int) -> None:
        self._stopping = True
        for worker in self._running:
            worker.process.send_signal(number)

    @property
    def outcome(self) -> int | None:
        """The outcome so far; see `poll`."""
        return self._outcome

    def poll(self) -> int | None:
        """None while they run. Then 0 if all finished, 75 if they stopped on a signal, otherwise the exit code of the
        first that failed (128 + n for signal n), whose message has been printed. The others get a short time to end.
        """
        ended = [worker for worker in self._running if worker.process.poll() is not None]
        self._running = [worker for worker in self._running if worker not in ended]
        failed = [worker for worker in ended if worker.process.returncode != EXIT_FINISHED]
        if failed and self._outcome is None:
            self._outcome = self._exit_code(failed)
            self._deadline = time.monotonic() + (STOP_GRACE_S if self._outcome == EXIT_STOPPED else FAIL_GRACE_S)
        if not self._running:
            return self._outcome or EXIT_FINISHED
        return self._outcome if self._outcome is not None and time.monotonic() > self._deadline else None

    def end(self, at_once: bool = False) -> None:
        """Ends all: by SIGTERM first unless `at_once`, then by SIGKILL."""
        running = [worker.process for worker in self._running]
        for process in running:
            process.kill() if at_once else process.terminate()
        deadline = time.monotonic() + KILL_GRACE_S
        for process in running:
            try:
                process.wait(timeout=max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running = []

    # ---- failures

    def _exit_code(self, failed: list[_Worker]) -> int:
        codes = [worker.process.returncode for worker in failed]
        # A worker killed by the stop signal itself had not begun its work.
        unheard = (-signal.SIGINT, -signal.SIGTERM, -signal.SIGHUP, -TIME_IS_UP) if self._stopping else ()
        if all(code == EXIT_STOPPED or code in unheard for code in codes):
            return EXIT_STOPPED
        worker, failure = self._cause(failed)
        code = worker.process.returncode
        self._show(worker, failure)
        if code is None:  # it has left its message and is ending
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = worker.process.wait(timeout=FAIL_GRACE_S)
        if not code:
            code = next(code for code in codes if code)
        return code if code > 0 else 128 - code

    def _cause(self, failed: list[_Worker]) -> tuple[_Worker, Failure | None]:
        """The worker that failed first, and its message. A killed worker leaves no message; it is then the cause.
        SIGABRT does not count: some libraries abort when they lose their peers."""
        left = [(worker, read_failure(worker.error_file)) for worker in self._workers]
        killed = [w for w in failed if w.process.returncode < 0 and w.process.returncode != -signal.SIGABRT]
        for worker, failure in left:
            if worker in killed and failure is None:
                return worker, None
        messages = [(failure.at_ns, worker, failure) for worker, failure in left if failure is not None]
        return min(messages, key=lambda one: one[0])[1:] if messages else (failed[0], None)

    def _show(self, worker: _Worker, failure: Failure | None) -> None:
        if failure is not None and "\n" not in failure.text:
            print(failure.text, file=sys.stderr, flush=True)  # a line for the user
            return
        code = worker.process.returncode
        text = f"rank {worker.rank}" if worker.rank or len(self._workers) > 1 else "the process"
        text += f" was killed by {signal.Signals(-code).name}" if code and code < 0 else " failed"
        if failure is not None:
            text += f" ({worker.log}):\n{failure.text}"
        elif code == -signal.SIGKILL:  # its log cannot tell why
            text += f", perhaps because memory ran out; its log is {worker.log}"
        else:
            text += (f" with exit code {code}" if code and code > 0 else "") + _tail(worker)
        print(text, file=sys.stderr, flush=True)


def _tail(worker: _Worker) -> str:
    """The end of a worker's log, without Python's warnings and the code below them."""
    lines, below = [], False
    if worker.log.is_file():
        with worker.log.open("rb") as log:
            log.seek(worker.log_start)
            for line in log.read().decode("utf-8", "replace").splitlines():
                is_warning = "Warning: " in line
                if not is_warning and not (below and line.startswith("  ")):
                    lines.append(escape_control_characters(line))
                below = is_warning
    return "\n  ".join([f"; its last lines ({worker.log}):", *lines[-TAIL_LINES:]]) if lines else ""


def _cpus() -> int:
    """A cluster may give a job only part of a machine."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Signals:
    """Signals to the launcher, which its loop passes on."""

    CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # the last from a cluster

    def __init__(self) -> None:
        self.stopping = False
        self.insisted = False
        self._pending: int | None = None
        self._first_at = 0.0
        self._raising = False

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._handle) for number in self.CAUGHT}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def interrupting(self) -> Iterator[None]:
        """For blocks without workers: the first signal raises KeyboardInterrupt."""
        if self.stopping:
            raise KeyboardInterrupt
        self._raising = True
        try:
            yield
        finally:
            self._raising = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if not self.stopping:
            self.stopping, self._first_at = True, now
            self._pending = TIME_IS_UP if number == signal.SIGUSR1 else number
            if self._raising:
                raise KeyboardInterrupt
        elif now - self._first_at > REPEAT_S:
            self.insisted = True

    def pass_on(self, workers: Workers) -> None:
        if self._pending is not None:
            workers.send(self._pending)
            self._pending = None
