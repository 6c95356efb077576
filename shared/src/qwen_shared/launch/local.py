"""N processes of one command on this machine."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from qwen_shared.errors import EXIT_STOPPED
from qwen_shared.launch.workers import POLL_S, Signals, Workers
from qwen_shared.launched import LAUNCHER_PID


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


def die_with_launcher() -> None:
    """Called first in a worker: ties its life to the launcher's, even where that is killed with SIGKILL."""
    launcher = os.environ.get(LAUNCHER_PID)
    if launcher is None or not sys.platform.startswith("linux"):
        return
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != int(launcher):  # it died before the line above
        os._exit(1)


def launch(package: str, argv: list[str], nproc: int, logs: Path) -> int:
    """Runs `python -m package argv` as ranks 0 … nproc-1 and waits for all of them; returns what `Workers.poll` says.

    A signal is passed on to every worker once, whether the terminal sent it to a whole process group or `kill` to this
    process alone.
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
