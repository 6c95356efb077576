"""No progress ends a process with its stacks; progress, however slow, and an end leave nothing behind."""

import json
import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
from qwen_shared.job.watchdog import Watchdog

def stands_still():
    time.sleep(60)

logs = Path(sys.argv[1])
with Watchdog(1.0, logs, 3, lambda reason: (logs / "reason").write_text(reason)) as watchdog:
    for _ in range(4):
        watchdog.alive()
        time.sleep(0.5)
    if sys.argv[2] == "hang":
        stands_still()
"""


@pytest.fixture
def watched(tmp_path):
    """watched("hang" or "end", environment): how the program ended."""

    def watched(what, **environment):
        command = [sys.executable, "-c", PROGRAM, tmp_path / "logs", what]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return watched


@pytest.mark.parametrize("what", ["hang", "end"])
def test_no_progress(what, watched, tmp_path):
    began = time.monotonic()
    done = watched(what)
    stacks = tmp_path / "logs/stacks-rank-3.txt"
    if what == "end":
        assert (done.returncode, done.stdout) == (0, "") and not stacks.exists()
        return
    assert done.returncode == 1 and time.monotonic() - began < 50
    assert "no progress for 1 s (guards.step_timeout): where each rank stands is in " in done.stdout
    assert "in stands_still" in stacks.read_text()
    assert (tmp_path / "logs/reason").read_text() == "no progress for 1 s (guards.step_timeout)"


def test_who_does_not_answer_is_told(watched, tmp_path):
    """Rank 1 has stacks of an earlier hang alone, rank 2 none at all; a launcher of ours says it."""
    (tmp_path / "logs").mkdir()
    old, empty = (tmp_path / f"logs/stacks-rank-{rank}.txt" for rank in (1, 2))
    old.write_text("earlier\n")
    empty.touch()
    time.sleep(1.5)
    left = tmp_path / "failure.json"
    done = watched("hang", TORCHELASTIC_ERROR_FILE=str(left), QWEN_LAUNCHER_PID="1")
    words = json.loads(left.read_text())["message"]["message"]
    assert (done.returncode, done.stdout) == (1, "")
    assert "(guards.step_timeout); ranks 1, 2 did not answer: where the others stand is in " in words
    assert old.exists() and not empty.exists()
