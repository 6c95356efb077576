"""`--launcher torchrun`: processes on one or several hosts, restarted after a failure or when a host comes back.

torch's elastic agent, torchrun's own, meets the other hosts, assigns ranks and restarts. Every host runs the same
command.
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
from collections.abc import Callable, Iterator, Sequence
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
from qwen_shared.launch.workers import POLL_S, Signals, Workers

REPORT_S = 5.0  # shorter waits print nothing
JOIN_S = 1800  # hosts wait for each other: one may have to boot
EXIT_S = 24 * 3600  # finished hosts wait for the one that still exports

Endpoint = tuple[str, int]


def launch(
    package: str,
    argv: Sequence[str],
    nodes: int,
    nproc: int,
    endpoint: Endpoint | None,
    max_restarts: int,
    run_dir: Path,
) -> int:
    """Runs this host's `nproc` processes of `nodes` · `nproc`; returns the last outcome of `Workers.poll`.

    Hosts meet at `endpoint`, one of them; None for one host. Failures lead to at most `max_restarts` restarts, user
    errors and signals to none. When a lost host comes back, all start again, which is not counted. Raises
    KeyboardInterrupt after a signal if no workers run, UserError if the endpoint's host is unknown.
    """
    # torch would reuse the first meeting's store, but rank 0 may move to another host.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    for name in list(logging.root.manager.loggerDict):  # torch sets a level for each
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.ERROR)  # we report what its warnings are about
    signals = Signals()
    place = f"{endpoint[0]}:{endpoint[1]}" if endpoint else "this host"
    with signals.caught(), Workers(package, argv, run_dir / "logs") as workers:
        try:
            with signals.interrupting():
                handler, environment = _meet(nodes, endpoint, run_dir.name)
            spec = WorkerSpec("default", nproc, handler, entrypoint=package, max_restarts=max_restarts)
            status = partial(_meeting_status, handler, nodes, place) if endpoint else None
            agent = _Agent(spec, workers, signals, environment, status)
            try:
                agent.run()
            finally:
                handler.shutdown()
        except RendezvousTimeoutError:
            problem = f"not all of {nodes} hosts came to {place} within {JOIN_S // 60} minutes"
        except RendezvousClosedError:
            problem = "the other hosts have ended"
        except RendezvousConnectionError:
            problem = f"lost the connection to {place}, where the hosts meet"
        else:
            return EXIT_STOPPED if agent.outcome is None else agent.outcome
    print(f"{problem}; the same command on every host continues from the last checkpoint", file=sys.stderr)
    return EXIT_FAILED


class _Agent(SimpleElasticAgent):
    """torch decides when to start, watch and end processes; `Workers` does it."""

    def __init__(
        self,
        spec: WorkerSpec,
        workers: Workers,
        signals: Signals,
        environment: dict[str, str],
        meeting_status: Callable[[], str] | None,
    ):
        super().__init__(spec, exit_barrier_timeout=EXIT_S)
        self.outcome: int | None = None
        self._workers, self._signals, self._environment = workers, signals, environment
        self._meeting_status = meeting_status

    def _rendezvous(self, worker_group: WorkerGroup) -> None:
        with self._signals.interrupting(), _reporting(self._meeting_status):
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
            print(f"restart {number} of at most {worker_group.spec.max_restarts}", file=sys.stderr)
        return RunResult(WorkerState.FAILED)

    def _stop_workers(self, worker_group: WorkerGroup) -> None:
        # After a loss the other workers hang and have nothing to save.
        self._workers.end(at_once=True)

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = 30) -> None:
        self._workers.end()


def _meet(nodes: int, endpoint: Endpoint | None, name: str) -> tuple[RendezvousHandler, dict[str, str]]:
    """The rendezvous, and variables for this host's ranks."""
    environment: dict[str, str] = {}
    if nodes == 1:
        host, port, own, is_host = "127.0.0.1", 0, "127.0.0.1", True
    else:
        assert endpoint is not None, "several hosts need one"
        host, port = endpoint
        is_host = _can_listen(host, port)
        own = _address(host) if is_host else _wait_for(host, port, nodes)
        # By default gloo resolves the host's name, often to the loopback.
        if interface := os.environ.get("GLOO_SOCKET_IFNAME") or _interface(own):
            environment["GLOO_SOCKET_IFNAME"] = interface
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
    """Whether the address is this host's and the port is free."""
    family, kind, _, _, address = socket.getaddrinfo(_address(host), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        return True
    return False


def _wait_for(host: str, port: int, nodes: int) -> str:
    """Waits until somebody listens there; returns this host's address on that route."""
    deadline = time.monotonic() + JOIN_S
    with _reporting(lambda: f"waiting for {host}:{port}, where the {nodes} hosts meet: nobody listens there yet"):
        while True:
            try:
                with socket.create_connection((host, port), timeout=10) as connection:
                    return connection.getsockname()[0]
            except OSError:
                if time.monotonic() > deadline:
                    raise RendezvousTimeoutError from None
                time.sleep(20 * POLL_S)


@contextlib.contextmanager
def _reporting(status: Callable[[], str] | None) -> Iterator[None]:
    """Prints the status if the block takes long, and again when it changes."""
    if status is None:
        yield
        return
    done = threading.Event()

    def report() -> None:
        printed, pause = "", REPORT_S
        while not done.wait(pause):
            if (now := status()) != printed:
                print(now, file=sys.stderr, flush=True)
            printed, pause = now, 1.0

    threading.Thread(target=report, daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _meeting_status(handler: Any, nodes: int, place: str) -> str:
    state = handler._state_holder.state  # torch has no public way to it
    present = sorted(node.addr for node in list(state.wait_list if state.complete else state.participants))
    return f"waiting at {place} for the other hosts: {len(present)} of {nodes} are there ({', '.join(present)})"


def _interface(address: str) -> str | None:
    for name, addresses in psutil.net_if_addrs().items():
        if any(entry.address.partition("%")[0] == address for entry in addresses):
            return name
    return None
