"""No progress ends a process with its stacks; progress, however slow, and an end leave nothing behind."""

import subprocess
import sys
import time

import pytest

PROGRAM = """
import sys, time
from pathlib import Path
from qwen_shared.training.watchdog import Watchdog

def stands_still():
    time.sleep(60)

with Watchdog(1.0, Path(sys.argv[1]), 3) as watchdog:
    for _ in range(4):
        watchdog.alive()
        time.sleep(0.5)
    if sys.argv[2] == "hang":
        stands_still()
"""


@pytest.mark.parametrize("what", ["hang", "end"])
def test_no_progress(what, tmp_path):
    began = time.monotonic()
    command = [sys.executable, "-c", PROGRAM, tmp_path / "logs", what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    stacks = tmp_path / "logs/stacks-rank-3.txt"
    if what == "end":
        assert (done.returncode, done.stdout) == (0, "") and not stacks.exists()
        return
    assert done.returncode == 1 and time.monotonic() - began < 50
    assert "no progress for 1 s" in done.stdout
    assert "in stands_still" in stacks.read_text()
