"""`--launcher torchrun`: processes on one host or several, started again where some of them fail or a host comes back.

torch's elastic agent, which torchrun runs as well, meets the other hosts at a rendezvous, gives out ranks and starts
again. The processes themselves are `Workers`: that they stop together, who fails first, and where they log does not
depend on the launcher. Every host runs the same command.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from torch.distributed.elastic.agent.server.api import (
    RunResult,
    SimpleElasticAgent,
    WorkerGroup,
    WorkerSpec,
    WorkerState,
)
from torch.distributed.elastic.rendezvous import RendezvousHandler, RendezvousParameters
from torch.distributed.elastic.rendezvous.api import (
    RendezvousClosedError,
    RendezvousConnectionError,
    RendezvousTimeoutError,
)
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, UserError
from qwen_shared.launch.launchers import split_endpoint
from qwen_shared.launch.workers import POLL_S, Signals, Workers

TELL_S = 5.0  # hosts that come together within this say nothing
JOIN_S = 1800  # how long hosts wait for the others: one may have to boot
EXIT_S = 24 * 3600  # how long hosts that are through wait for the one that still exports and evaluates


def launch(
    package: str, argv: list[str], nodes: int, nproc: int, endpoint: str | None, max_restarts: int, run_dir: Path
) -> int:
    """Runs `python -m package argv` in `nproc` processes here, as this host's part of `nodes` · `nproc`; returns what
    `Workers.poll` says of the last start.

    `endpoint` is HOST:PORT, one of the hosts, where all meet; None for one host. Failures lead to at most
    `max_restarts` starts; mistakes of the user's and signals to none. A host that was lost may come back by the same
    command: then all start again, and that is not counted. Raises KeyboardInterrupt after a signal where there is
    nothing to be stopped, UserError where the endpoint cannot be one.
    """
    # What torch would share else is kept from the first meeting, and rank 0 may be on another host in the next.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    for name in list(logging.root.manager.loggerDict):  # torch has a level for each
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.ERROR)  # what comes of its warnings is said here
    signals = Signals()
    with signals.caught(), Workers(package, argv, run_dir / "logs") as workers:
        try:
            with signals.interrupting():
                handler, environment = _meet(nodes, endpoint, run_dir.name)
            spec = WorkerSpec("default", nproc, handler, entrypoint=package, max_restarts=max_restarts)
            waiting = partial(_who_is_there, handler, nodes, endpoint) if endpoint else None
            agent = _Agent(spec, workers, signals, environment, waiting)
            try:
                agent.run()
            finally:
                handler.shutdown()
        except RendezvousTimeoutError:
            problem = f"not all of {nodes} hosts came to {endpoint} within {JOIN_S // 60} minutes"
        except RendezvousClosedError:
            problem = "the other hosts have ended"
        except RendezvousConnectionError:
            problem = f"lost the connection to {endpoint}, where the hosts meet"
        else:
            return EXIT_STOPPED if agent.outcome is None else agent.outcome
    print(f"{problem}; the same command on every host goes on from the last checkpoint", file=sys.stderr)
    return EXIT_FAILED


class _Agent(SimpleElasticAgent):
    """What it does, and when, is torch's; how processes are started, watched and ended is ours."""

    def __init__(
        self,
        spec: WorkerSpec,
        workers: Workers,
        signals: Signals,
        environment: dict[str, str],
        waiting: Callable[[], str] | None,
    ):
        super().__init__(spec, exit_barrier_timeout=EXIT_S)
        self.outcome: int | None = None
        self._workers, self._signals, self._environment = workers, signals, environment
        self._waiting = waiting

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        with self._signals.interrupting(), _telling(self._waiting):
            super()._rendezvous(worker_group)

    def _start_workers(self, worker_group: WorkerGroup) -> dict[int, Any]:
        store = {"MASTER_ADDR": str(worker_group.master_addr), "MASTER_PORT": str(worker_group.master_port)}
        first = worker_group.workers[0]
        pids = self._workers.start(
            first.global_rank, len(worker_group.workers), first.world_size, store | self._environment
        )
        return dict(enumerate(pids))

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        self._signals.pass_on(self._workers)
        self.outcome = self._workers.poll()
        if self._signals.insisted and self.outcome is None:
            self.outcome = self._workers.outcome or EXIT_STOPPED
        if self.outcome is None:
            return RunResult(WorkerState.HEALTHY)
        if self.outcome == EXIT_FINISHED:
            return RunResult(WorkerState.SUCCEEDED, {worker.global_rank: None for worker in worker_group.workers})
        if self.outcome in (EXIT_STOPPED, EXIT_USER_ERROR) or self._signals.stopping:
            self._remaining_restarts = 0
        if self._remaining_restarts:
            number = worker_group.spec.max_restarts - self._remaining_restarts + 1
            print(f"starting again, {number} of at most {worker_group.spec.max_restarts} times", file=sys.stderr)
        return RunResult(WorkerState.FAILED)

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        # Some of them are gone, or a host is: the others wait for what does not come, and hold nothing to be saved.
        self._workers.end(at_once=True)

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        self._workers.end()


def _meet(nodes: int, endpoint: str | None, name: str) -> tuple[RendezvousHandler, dict[str, str]]:
    """The rendezvous, and what this host's ranks must know to reach the others."""
    if nodes == 1:
        host, port, own, is_host, environment = "127.0.0.1", 0, "127.0.0.1", True, {}
    else:
        assert endpoint is not None, "several hosts need one"
        host, port = split_endpoint(endpoint)
        is_host = _can_listen(host, port)
        own = _address(host) if is_host else _wait_for(host, port, nodes)
        # gloo goes by this host's name, which on many systems is that of the loopback.
        interface = os.environ.get("GLOO_SOCKET_IFNAME") or _interface(own)
        environment = {"GLOO_SOCKET_IFNAME": interface} if interface else {}
    parameters = RendezvousParameters(
        "c10d", f"{host}:{port}", name, nodes, nodes, local_addr=own, is_host=is_host, join_timeout=JOIN_S
    )
    return get_rendezvous_handler(parameters), environment


def _address(host: str) -> str:
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise UserError(f"--rdzv-endpoint {host}: no such host: {error.strerror}") from None


def _can_listen(host: str, port: int) -> bool:
    """Whether the address is this host's, and nobody has taken the port: then the hosts meet here."""
    family, kind, _, _, address = socket.getaddrinfo(_address(host), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return True
    return False


def _wait_for(host: str, port: int, nodes: int) -> str:
    """Until the meeting place is open; returns this host's address on the way there. The hosts need not be started
    at one time, nor have names that the others know."""
    deadline = time.monotonic() + JOIN_S
    with _telling(lambda: f"waiting for {host}:{port}, where the {nodes} hosts meet: nobody listens there yet"):
        while True:
            try:
                with socket.create_connection((host, port), timeout=10) as connection:
                    return connection.getsockname()[0]
            except OSError:
                if time.monotonic() > deadline:
                    raise RendezvousTimeoutError from None
                time.sleep(20 * POLL_S)


@contextlib.contextmanager
def _telling(words: Callable[[], str] | None) -> Iterator[None]:
    """Says on the console what is waited for, where that takes long; again when the words change."""
    if words is None:
        yield
        return
    done = threading.Event()

    def tell() -> None:
        said, pause = "", TELL_S
        while not done.wait(pause):
            if (now := words()) != said:
                print(now, file=sys.stderr, flush=True)
            said, pause = now, 1.0

    threading.Thread(target=tell, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _who_is_there(handler: Any, nodes: int, endpoint: str) -> str:
    state = handler._state_holder.state  # torch shows it nowhere else
    there = sorted(node.addr for node in list(state.wait_list if state.complete else state.participants))
    return f"waiting at {endpoint} for the other hosts: {len(there)} of {nodes} are there ({', '.join(there)})"


def _interface(address: str) -> str | None:
    """The network interface that has this address."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return name
    return None
