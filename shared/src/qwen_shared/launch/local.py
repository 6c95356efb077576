"""N processes of one command on this machine, which live, stop and fail together."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen_shared.errors import EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, UserError

LAUNCHER_PID = "QWEN_LAUNCHER_PID"
POLL_S = 0.05
STOP_GRACE_S = 120.0  # after the first worker has stopped, the others may still be writing their part
FAIL_GRACE_S = 5.0  # after the first has failed, the others have nothing left to wait for
KILL_GRACE_S = 5.0  # between SIGTERM and SIGKILL
REPEAT_S = 3.0  # a second signal this much later means "now"
TAIL_LINES = 30


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A port of this machine that nobody else is given before rank 0 listens on it, seconds from now.

    It stays bound here without listening; the kernel lets a server that sets SO_REUSEADDR, as torch's store does,
    share it, and passes it over when others ask for any free port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def is_worker() -> bool:
    """Whether this process was started as one of several, by `launch`, torchrun or a cluster."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def die_with_launcher() -> None:
    """Called first in a worker: ties its life to the launcher's, even where that is killed with SIGKILL."""
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher is None or not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it died before the line above
        os._exit(1)


@dataclass
class _Worker:
    rank: int
    process: subprocess.Popen
    log: Path | None  # None: rank 0 writes to the console
    log_start: int = 0


def launch(package: str, argv: list[str], nproc: int, logs: Path) -> int:
    """Runs `python -m package argv` as ranks 0 … nproc-1 and waits for all of them.

    Rank 0 has the console; rank r > 0 appends to logs/rank-r.txt. A signal is passed on to every worker once, whether
    the terminal sent it to a whole process group or `kill` to this process alone: workers are sessions of their own.
    Returns 0 when all finished, 75 when they stopped on a signal, otherwise the exit code of the first that failed.
    """
    signals = _Signals()
    workers: list[_Worker] = []
    with reserved_port() as port:
        try:
            with signals.caught():
                _start(workers, package, argv, nproc, logs, port)
                return _wait(workers, signals)
        finally:
            _end(workers)


def _start(workers: list[_Worker], package: str, argv: list[str], nproc: int, logs: Path, port: int) -> None:
    try:
        logs.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{logs}: cannot be made: {error.strerror}") from None
    threads = max(1, (os.cpu_count() or 1) // nproc)
    common = {
        "WORLD_SIZE": str(nproc),
        "LOCAL_WORLD_SIZE": str(nproc),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads)),
        LAUNCHER_PID: str(os.getpid()),
    }
    for rank in range(nproc):
        env = os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        command = [sys.executable, "-m", package, *argv]
        if rank == 0:
            workers.append(_Worker(rank, subprocess.Popen(command, env=env, start_new_session=True), None))
            continue
        path = logs / f"rank-{rank}.txt"
        with path.open("ab") as log:
            start = log.tell()
            process = subprocess.Popen(
                command, env=env, start_new_session=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        workers.append(_Worker(rank, process, path, start))


def _wait(workers: list[_Worker], signals: _Signals) -> int:
    """The first exit that is not 0 decides the outcome; what happens to the others after it is its consequence."""
    outcome = EXIT_FINISHED
    deadline = None
    running = list(workers)
    while running:
        time.sleep(POLL_S)
        signals.pass_on(running)
        for worker in list(running):
            code = worker.process.poll()
            if code is None:
                continue
            running.remove(worker)
            if code == EXIT_FINISHED or outcome != EXIT_FINISHED:
                continue
            if signals.stopping and code in (-signal.SIGINT, -signal.SIGTERM):
                code = EXIT_STOPPED  # the signal came before the worker could handle it, so before there was work
            outcome = code if code >= 0 else 128 - code
            deadline = time.monotonic() + (STOP_GRACE_S if outcome == EXIT_STOPPED else FAIL_GRACE_S)
            _show_failure(worker, code, workers)
        if deadline is not None and time.monotonic() > deadline:
            return outcome
        if signals.insisted:
            return outcome or EXIT_STOPPED
    return outcome


def _show_failure(worker: _Worker, code: int, workers: list[_Worker]) -> None:
    """The failed rank's own last lines, before whatever the other ranks say about losing it."""
    if code == EXIT_STOPPED or worker.log is None:
        return
    if code == EXIT_USER_ERROR:
        # Usually every rank finds the same mistake, and rank 0 has said so on the console.
        with contextlib.suppress(subprocess.TimeoutExpired):
            if workers[0].process.wait(timeout=FAIL_GRACE_S) == EXIT_USER_ERROR:
                return
    with worker.log.open("rb") as log:
        log.seek(worker.log_start)
        lines = log.read().decode("utf-8", "replace").splitlines()
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    print(f"rank {worker.rank} {how}; its last lines ({worker.log}):", file=sys.stderr)
    print("\n".join(f"  {line}" for line in lines[-TAIL_LINES:]), file=sys.stderr, flush=True)


def _end(workers: list[_Worker]) -> None:
    """No worker outlives the launcher: first asked, then killed."""
    left = [worker.process for worker in workers if worker.process.poll() is None]
    for process in left:
        process.terminate()
    deadline = time.monotonic() + KILL_GRACE_S
    for process in left:
        try:
            process.wait(timeout=max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class _Signals:
    """Remembers the signals that reached the launcher; they are passed on from its loop, not from the handler."""

    CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self.stopping = False
        self.insisted = False
        self._pending: int | None = None
        self._first_at = 0.0

    @contextlib.contextmanager
    def caught(self):
        before = {number: signal.signal(number, self._handle) for number in self.CAUGHT}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame) -> None:
        now = time.monotonic()
        if not self.stopping:
            self.stopping, self._first_at = True, now
            # A closed terminal is a wish to stop, as `kill` is.
            self._pending = signal.SIGTERM if number == signal.SIGHUP else number
        elif now - self._first_at > REPEAT_S:
            self.insisted = True

    def pass_on(self, running: list[_Worker]) -> None:
        if self._pending is not None:
            for worker in running:
                worker.process.send_signal(self._pending)
            self._pending = None
