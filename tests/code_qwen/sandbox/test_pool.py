"""Programs one by one and by the hundred; what is said of an execution, and of the machine."""

import gc
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from code_qwen.sandbox import (
    Limits,
    Outcome,
    Program,
    Submission,
    isolation,
    passes,
    pool,
    require_isolation,
    run,
    run_many,
    run_tests_many,
)
from qwen_shared.errors import UserError


def test_run(tier):
    execution = run("import sys\nprint(input()[::-1])\nprint('é', file=sys.stderr)\nsys.exit(3)", stdin="abc\nd")
    assert execution.outcome is Outcome.FAILED and execution.exit_code == 3 and execution.signal is None
    assert execution.stdout == "cba\n" and execution.stderr == "é\n" and 0 < execution.wall_seconds < 60
    assert run("if __name__ == '__main__': print(exit)").outcome is Outcome.FINISHED
    failed = run("def f():\n    return 1 / 0\nf()\n")
    assert "line 2" in failed.stderr and "ZeroDivisionError" in failed.stderr and failed.reason == "exit code 1"


def test_output_is_cut():
    execution = run("print('x' * 5000)", limits=Limits(output_bytes=1000))
    assert execution.outcome is Outcome.OUTPUT and execution.stdout == "x" * 1000


def test_library_and_children():
    program = "import hashlib, sqlite3, zoneinfo, subprocess, sys, json, ssl, tempfile, asyncio\n"
    program += "print(asyncio.run(asyncio.sleep(0, 'slept')))\nopen('x', 'w').write('y')\nprint(open('x').read())\n"
    execution = run(program)
    assert execution.stdout == "slept\ny\n", execution


def test_order_and_number():
    progress = []
    executions = run_many([f"print({k})" for k in range(40)], workers=4, progress=lambda *pair: progress.append(pair))
    assert [execution.stdout for execution in executions] == [f"{k}\n" for k in range(40)]
    assert progress == [(k, 40) for k in range(1, 41)]
    jobs = [Submission("", f"def f(): return {k % 3}", "assert f() == 0") for k in range(30)]
    assert [verdict.passed for verdict in run_tests_many(jobs)] == [k % 3 == 0 for k in range(30)]
    assert run_many([]) == [] and run_tests_many([]) == []


def test_threads():
    found = {}

    def work(k: int) -> None:
        found[k] = run(f"print({k})").stdout

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: f"{k}\n" for k in range(8)}


def test_forked_process():
    run("pass")
    pid = os.fork()
    if pid == 0:
        os._exit(0 if run("print(1)").stdout == "1\n" else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert run("print(2)").stdout == "2\n"


HOST = """
import os, signal, sys, threading, time
from code_qwen.sandbox import Limits, passes, run
{before}
assert run("print(1)").stdout == "1\\n"
assert passes("", "def f(): return 1", "def check(c): assert c() == 1", "f", 20.0)
{after}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("os.umask(0o777)", ""),
        ("signal.signal(signal.SIGCHLD, signal.SIG_IGN)", ""),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())", ""),
        ("os.close(0); os.close(1)", ""),
        ("import tempfile; d = tempfile.mkdtemp(); os.chdir(d); os.rmdir(d)", ""),
        ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))", ""),
        ("", "import atexit; atexit.register(run, 'pass')"),
        ("os.environ.update(TMPDIR='/no/such', PYTHONPATH='/no/such', PYTHONSTARTUP='/no/such', HOME='')", ""),
    ],
)
def test_hosts(before, after):
    """Whatever the state of the process that asks."""
    code = HOST.format(before=before, after=after)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_host_that_is_killed_after_a_fork():
    """A child that another thread forked meanwhile does not keep the supervisors alive."""
    code = """
import os, sys, threading, time
from code_qwen.sandbox import Limits, run
thread = threading.Thread(target=run, args=("import time; time.sleep(300)", "", Limits(wall_seconds=300)))
thread.start()
from code_qwen.sandbox import pool
while not list(pool._all) or not all(supervisor.is_ready for supervisor in pool._all): time.sleep(.05)
pids = [supervisor.process.pid for supervisor in pool._all]
if os.fork() == 0:
    os.close(1)
    time.sleep(300)
    os._exit(0)
print(*pids, flush=True)
time.sleep(300)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as host:
        pids = [int(word) for word in host.stdout.readline().split()]
        host.kill()
    deadline = time.monotonic() + 60
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(host.pid, 9)
    assert pids and not any(map(_is_alive, pids))


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_interrupted_in_the_middle():
    def interrupt(done: int, _: int) -> None:
        raise KeyboardInterrupt

    jobs = ["pass", *["import time\ntime.sleep(20)"] * 3]
    before = set(pool._all)
    with pytest.raises(KeyboardInterrupt):
        run_many(jobs, workers=3, progress=interrupt)
    gc.collect()
    begun = [supervisor for supervisor in set(pool._all) - before if supervisor not in pool._idle.supervisors]
    assert not any(_is_alive(supervisor.process.pid) for supervisor in begun)
    assert run("print(1)").stdout == "1\n"


def test_odd_limits():
    assert run("print(1)", limits=Limits(wall_seconds=1e12, cpu_seconds=1e12)).stdout == "1\n"
    round_numbers = Limits(memory_bytes=1e9, file_bytes=1e6, processes=8.0, output_bytes=1e6)
    assert run("print(1)", limits=round_numbers).stdout == "1\n"
    assert (
        run("import threading\nx = [threading.Timer(.2, int) for _ in range(40)]\nfor t in x: t.start()").exit_code == 0
    )


def test_no_proc(monkeypatch):
    pool.available_mechanisms.cache_clear()
    monkeypatch.setattr(pool.SupervisorProcess, "wait", lambda *_: {"error": "/proc is not mounted"})
    with pytest.raises(UserError, match="/proc is not mounted"):
        run("pass")


def test_odd_texts():
    assert run("").outcome is Outcome.FINISHED
    assert run("\0").outcome is Outcome.FAILED
    assert run("print('\ud800')").outcome is Outcome.FAILED
    assert run("print(len(input()))", stdin="é" * 10**6).stdout == "1000000\n"
    assert run("x = 1\n" * 10**5).outcome is Outcome.FINISHED


def test_mistakes():
    for wrong in (lambda: run(b"x"), lambda: run("x", stdin=None), lambda: passes("", None, "", "", 1.0)):
        with pytest.raises(TypeError, match="must be str"):
            wrong()
    with pytest.raises(ValueError, match="wall_seconds must be positive"):
        passes("", "", "", "", 0)
    with pytest.raises(ValueError, match="processes must be positive"):
        Program("", "", Limits(processes=0))


def test_isolation(tier):
    guarantees = {guarantee.name: guarantee for guarantee in isolation()}
    assert all(guarantees[name].held for name in ("time", "memory", "output", "orphans"))
    apart = tier in ("namespaces", "landlock") or os.geteuid() == 0
    assert guarantees["verdict"].held == guarantees["environment"].held == apart
    assert guarantees["network"].held == (tier != "bare")
    assert guarantees["reading files"].held == (tier in ("namespaces", "landlock"))
    if tier in ("namespaces", "landlock"):
        require_isolation()
    else:
        with pytest.raises(UserError, match=r"reading files: .*--require-isolation"):
            require_isolation()


def test_elsewhere(monkeypatch):
    pool.available_mechanisms.cache_clear()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(UserError, match="needs Linux"):
        run("pass")
