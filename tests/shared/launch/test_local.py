"""Workers live, stop and fail together."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from qwen_shared.launch.local import reserved_port

WORDS = ("train", "--nproc", "2")


@pytest.fixture
def start(toy):
    """Starts the toy's launcher in a process group of its own, as a shell does."""
    started = []

    def start(what):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(**toy.arguments(what, *WORDS), **pipes, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_every_worker_has_its_place(toy, start):
    process = start("done")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    other = (toy.folder / "runs/toy/small/logs/rank-1.txt").read_text()
    (begin, rank, threads, port), numbers = out.split(), other.rpartition("begin ")[2].split()
    assert (begin, rank, numbers) == ("begin", "0", ["1", threads, port])
    assert int(threads) == max(1, os.cpu_count() // 2)


def test_finished_log_is_appended_to(toy, start):
    for _ in range(2):
        start("done").communicate(timeout=60)
    assert (toy.folder / "runs/toy/small/logs/rank-1.txt").read_text().count("begin 1") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("whole_group", [True, False])
def test_a_signal_reaches_every_worker_once(number, whole_group, toy, start):
    process = start("wait")
    _wait_for(toy.folder / "ready-0", toy.folder / "ready-1")
    (os.killpg if whole_group else os.kill)(process.pid, number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "all is saved" in err
    expected = str(int(number))
    assert [(toy.folder / f"signals-{rank}").read_text() for rank in (0, 1)] == [expected, expected]


def test_a_signal_before_there_is_work(start):
    process = start("wait")
    time.sleep(0.3)  # the launcher is still importing or just starting its workers
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (75, -signal.SIGTERM)  # the latter before Python reached our first line


def test_a_port_is_nobody_elses_until_rank_0_listens():
    with reserved_port() as port:
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        for _ in range(2):  # torch's store listens on it, and again after a first one has gone
            store = TCPStore("127.0.0.1", port, 1, is_master=True)
            store.set("key", "value")
            assert store.get("key") == b"value"
            del store


def test_the_failing_rank_speaks(toy, start):
    process = start("fail")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("rank 1 failed (runs/toy/small/logs/rank-1.txt):\nTraceback")
    assert err.endswith("RuntimeError: rank one is broken\n")
    # What it led to is in the log.
    assert "rank zero lost its peer" in (toy.folder / "runs/toy/small/log.txt").read_text()


def test_a_mistake_is_said_once(start):
    process = start("user-error")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (2, "toy train: error: this will not do\n")


@pytest.mark.slow  # it waits for the graces that a launcher grants
def test_the_deaf_are_killed(toy, start):
    process = start("deaf")
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert not _alive(int((toy.folder / "ready-0").read_text()))


@pytest.mark.skipif(not Path("/proc").exists(), reason="the kernel's parent-death signal is Linux's")
def test_workers_die_with_a_killed_launcher(toy, start):
    process = start("wait")
    _wait_for(toy.folder / "ready-0", toy.folder / "ready-1")
    process.kill()
    pids = [int((toy.folder / f"ready-{rank}").read_text()) for rank in (0, 1)]
    deadline = time.monotonic() + 10
    while any(map(_alive, pids)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(*paths: Path) -> None:
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.02)
