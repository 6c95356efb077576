"""Hostile texts: nothing runs, nothing hangs, nothing is lost, and the pool goes on."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from math_qwen.verify import Outcome, verify, verify_many
from math_qwen.verify.pool import Worker, _idle

from .cases.hostile import HOSTILE

_NEEDS_SYMPY = (r"\sin 30^\circ", r"\frac{1}{2}")
# Three nested sums: within every bound of size, and too much work for a second.
_SLOW = HOSTILE["sums in sums"]


@pytest.fixture(autouse=True)
def warm():
    assert verify_many([_NEEDS_SYMPY], timeout=60)[0].right


@pytest.mark.parametrize("name", HOSTILE)
def test_ends_in_time(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for gold, prediction in (("7", HOSTILE[name]), (HOSTILE[name], "7"), (r"\sin(x)+\sqrt[3]{2}", HOSTILE[name])):
        began = time.monotonic()
        verdict = verify(gold, prediction, timeout=0.6)
        assert time.monotonic() - began < 1.6
        if "7" not in HOSTILE[name][-40:] + HOSTILE[name][:40]:
            assert not verdict.right, verdict
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("character", "\\{}()[]$#^_&%~|'\"<>=+-*/.,;:!?0a \n。，是")
def test_runs_of_one_character_take_linear_time(character):
    for text in (character * 60_000, ("1" + character) * 30_000, "the answer is " + character * 60_000 + "8"):
        began = time.monotonic()
        assert not verify("7", text, timeout=1.0).right
        assert time.monotonic() - began < 2.0


def test_timeout_is_told_and_the_worker_survives_for_the_next():
    assert verify("7", _SLOW, timeout=0.3).outcome in (Outcome.TIMEOUT, Outcome.UNPARSABLE)
    assert verify(*_NEEDS_SYMPY).right


def test_many_keep_order_and_lose_none():
    draw = random.Random(0)
    hostile = sorted(HOSTILE)
    pairs, expected = [], []
    for k in range(400):
        if k % 100 == 50:
            pairs.append(("7", HOSTILE[draw.choice(hostile)]))
            expected.append(None)
        elif k % 5 == 0:
            pairs.append((r"\sin 30^\circ", "1/2" if k % 2 else "1/3"))
            expected.append(bool(k % 2))
        else:
            pairs.append((str(k), str(k + k % 3)))
            expected.append(k % 3 == 0)
    seen = []
    verdicts = verify_many(pairs, workers=2, timeout=2.0, progress=lambda done, total: seen.append((done, total)))
    assert len(verdicts) == len(pairs)
    assert all(want is None or verdict.right == want for verdict, want in zip(verdicts, expected, strict=True))
    assert seen[-1] == (400, 400)
    assert seen == sorted(seen)


def test_a_killed_worker_costs_one_pair_only():
    worker = _idle.take()
    assert worker.wait_ready(60)
    os.killpg(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    _idle.workers.append(worker)
    assert verify(*_NEEDS_SYMPY).right


def test_memory_is_bounded():
    worker = Worker()
    assert worker.wait_ready(60)
    try:
        limits = Path(f"/proc/{worker.process.pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "address space" in line).split()[3] == str(1 << 30)
        assert next(line for line in limits.splitlines() if "file size" in line).split()[3] == "0"
    finally:
        worker.kill()


def test_workers_get_no_secrets(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("HF_TOKEN", "secret")
    worker = Worker()
    try:
        assert worker.wait_ready(60)
        assert b"secret" not in Path(f"/proc/{worker.process.pid}/environ").read_bytes()
    finally:
        worker.kill()


def test_from_threads():
    found = []
    threads = [threading.Thread(target=lambda: found.append(verify(*_NEEDS_SYMPY, timeout=30).right)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 3


def test_from_a_forked_process():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=lambda: theirs.send(verify(*_NEEDS_SYMPY, timeout=30).right))
    child.start()
    assert ours.poll(60)
    assert ours.recv() is True
    child.join()
    assert verify(*_NEEDS_SYMPY).right


def test_workers_end_with_their_parent(tmp_path):
    script = tmp_path / "script.py"  # no guard around its main part
    script.write_text(
        "import os\nfrom math_qwen.verify import verify\nfrom math_qwen.verify.pool import _idle\n"
        f"verify({_NEEDS_SYMPY[0]!r}, {_NEEDS_SYMPY[1]!r}, timeout=60)\n"
        "print(_idle.workers[0].process.pid, flush=True)\nos._exit(0)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(pid)


def test_importing_the_verifier_loads_nothing_heavy():
    heavy = ("torch", "sympy", "numpy", "transformers")
    code = f"import sys, math_qwen.verify; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip() == "[]"
    )


@pytest.mark.slow
def test_ten_thousand_pairs_one_in_a_hundred_hostile():
    names = sorted(HOSTILE)
    pairs = [
        ("7", HOSTILE[names[k // 100 % len(names)]]) if k % 100 == 99 else (str(k), str(k + k % 2))
        for k in range(10_000)
    ]
    verdicts = verify_many(pairs, timeout=2.0)
    assert len(verdicts) == 10_000
    assert all(verdicts[k].right == (k % 2 == 0) for k in range(10_000) if k % 100 != 99)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_protocol_is_json():
    """A lone surrogate goes there and back."""
    assert json.loads(json.dumps("\ud800")) == "\ud800"
    assert verify(r"\sin 30^\circ", "\ud800 1/2", timeout=30).outcome in (
        Outcome.UNPARSABLE,
        Outcome.WRONG,
        Outcome.RIGHT,
    )
