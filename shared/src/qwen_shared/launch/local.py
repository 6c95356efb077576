"""N processes of one command on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from qwen_shared.errors import EXIT_STOPPED
from qwen_shared.launch.workers import POLL_S, Signals, Workers
from qwen_shared.launched import LAUNCHER_PID


@contextlib.contextmanager
def reserved_port() -> Iterator[int]:
    """A local port that nobody else gets before rank 0 listens on it.

    It stays bound without listening: a server with SO_REUSEADDR, such as torch's store, can share it, and the kernel
    gives it to nobody who asks for a free port.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def die_with_launcher() -> None:
    """Makes this worker die with its launcher, even if that gets SIGKILL."""
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher is None or not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it died before prctl
        os._exit(1)


def launch(package: str, argv: Sequence[str], nproc: int, logs: Path) -> int:
    """Runs ranks 0 … nproc-1 to their end; returns the outcome of `Workers.poll`.

    Every worker gets a signal once, sent by a terminal to the process group or by `kill` to this process.
    """
    signals = Signals()
    with reserved_port() as port, Workers(package, argv, logs) as workers, signals.caught():
        workers.start(0, nproc, nproc, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
        while (outcome := workers.poll()) is None:
            time.sleep(POLL_S)
            signals.pass_on(workers)
            if signals.insisted:
                return workers.outcome or EXIT_STOPPED
        return outcome
