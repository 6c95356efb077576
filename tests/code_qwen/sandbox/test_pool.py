"""Programs one by one and by the hundred; what is said of an execution, and of the machine."""

import os
import threading

import pytest

from code_qwen.sandbox import (
    Job,
    Limits,
    Outcome,
    Program,
    isolation,
    judge_many,
    passes,
    pool,
    require_isolation,
    run,
    run_many,
)
from qwen_shared.errors import UserError


def test_run(tier):
    execution = run("import sys\nprint(input()[::-1])\nprint('é', file=sys.stderr)\nsys.exit(3)", stdin="abc\nd")
    assert execution.outcome is Outcome.FAILED and execution.exit_code == 3 and execution.signal is None
    assert execution.stdout == "cba\n" and execution.stderr == "é\n" and 0 < execution.wall_seconds < 10
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
    jobs = [Job("", f"def f(): return {k % 3}", "assert f() == 0") for k in range(30)]
    assert [judgement.passed for judgement in judge_many(jobs)] == [k % 3 == 0 for k in range(30)]
    assert run_many([]) == [] and judge_many([]) == []


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
    assert all(guarantees[name].held for name in ("verdict", "environment", "time", "memory", "output", "orphans"))
    assert guarantees["network"].held == (tier != "bare")
    assert guarantees["reading files"].held == (tier in ("namespaces", "landlock"))
    if tier in ("namespaces", "landlock"):
        require_isolation()
    else:
        with pytest.raises(UserError, match=r"reading files: .*--require-isolation"):
            require_isolation()


def test_elsewhere(monkeypatch):
    pool._probed.cache_clear()
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(UserError, match="needs Linux"):
        run("pass")
