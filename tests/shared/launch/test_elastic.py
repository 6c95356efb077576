"""Processes that torch's agent starts again, on one host and on several. The toy's do nothing but live and die."""

import signal
import socket
import subprocess
import time

import pytest

WORDS = ("train", "--launcher", "torchrun")


@pytest.fixture
def start(toy):
    started = []

    def start(what, *words):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(**toy.arguments(what, *WORDS, *words), **pipes, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_a_killed_rank_is_named_and_all_start_again(start):
    """Not the one that lost its peer."""
    process = start("killed-once", "--nproc", "2")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    who = "rank 1 was killed by SIGKILL, perhaps because memory ran out; its log is runs/toy/small/logs/rank-1.txt\n"
    assert err == who + "restart 1 of at most 3\n"
    assert out.count("begin 0") == 2


def test_nothing_starts_again_after_a_mistake_or_a_signal(toy, start):
    process = start("one-mistake", "--nproc", "2")
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (2, "toy train: error: only rank one sees this\n")
    process = start("wait", "--nproc", "2")
    _wait_for(toy.folder / "ready-0", toy.folder / "ready-1")
    process.send_signal(signal.SIGUSR1)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (75, "stopped, all is saved\n")
    assert [(toy.folder / f"signals-{rank}").read_text() for rank in (0, 1)] == [str(int(signal.SIGUSR2))] * 2


@pytest.mark.slow
def test_restarts_come_to_an_end(start):
    process = start("broken", "--nproc", "2", "--max-restarts", "1")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert err.count("RuntimeError: rank one is broken") == 2 and err.count("restart 1 of at most 1") == 1


def test_one_process_is_not_told_that_it_is_a_rank(start):
    out, err = start("done").communicate(timeout=120)
    assert (out, err) == ("begin 0 None None\n", "")


def test_hosts_meet_in_any_order(toy, start):
    """Two launchers of one process each; none of them says which is the first."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    words = ("--nodes", "2", "--rdzv-endpoint", endpoint)
    first, second = start("done", *words), start("done", *words)
    outputs = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    assert sorted(out[:7] for out, _ in outputs) == ["", "begin 0"]
    assert "begin 1" in (toy.folder / "runs/toy/small/logs/rank-1.txt").read_text()


@pytest.mark.slow
def test_a_signal_while_waiting_for_the_others(start):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"127.0.0.1:{server.getsockname()[1]}"
    process = start("done", "--nodes", "2", "--rdzv-endpoint", endpoint)
    port, deadline = int(endpoint.rpartition(":")[2]), time.monotonic() + 60
    while socket.socket().connect_ex(("127.0.0.1", port)):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    said = process.stderr.readline()
    assert said == f"waiting at {endpoint} for the other hosts: 1 of 2 are there (127.0.0.1)\n"
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (75, "toy train: stopped; the same command starts again\n")


@pytest.mark.parametrize("flags", [(), ("--plan",)])
def test_an_endpoint_without_a_port_is_refused_at_once(flags, start):
    process = start("done", "--nodes", "2", "--rdzv-endpoint", "foo", *flags)
    _, err = process.communicate(timeout=60)
    said = "toy train: error: --rdzv-endpoint foo: expected HOST:PORT, with one of the hosts\n"
    assert (process.returncode, err) == (2, said)


def _wait_for(*paths):
    deadline = time.monotonic() + 60
    while not all(path.exists() and path.read_text() for path in paths):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_under_torchrun_itself_a_mistake_is_said_once(toy):
    """Its own summary comes after that."""
    command = toy.arguments("user-error", "train")
    command["args"][1:2] = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    done = subprocess.run(**command, capture_output=True, timeout=120)
    assert done.returncode == 1  # torchrun's
    assert (done.stdout + done.stderr).count("toy train: error: this will not do") == 1
    assert "a user error, reported above" in done.stderr
