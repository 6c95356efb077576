"""Stopped, killed, killed while saving: the same command goes on, and every later step is bit-identical."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def _kill(process) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_stopped_run_goes_on_exactly(finished_run, qwen_base, read, tmp_path, wait_for_step):
    run_dir = tmp_path / "run"
    process = qwen_base.start("pretrain", "--run-dir", run_dir)
    wait_for_step(run_dir, 7, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert "stopped by SIGTERM after step" in said and "the same command goes on" in said
    assert read.manifest(run_dir)["status"] == "stopped"
    done = qwen_base("pretrain", "--run-dir", run_dir)
    assert "going on after step" in done.stdout
    assert read.trajectory(run_dir) == read.trajectory(finished_run)
    assert read.manifest(run_dir)["status"] == "finished"


def test_changed_data_is_noticed(qwen_base, corpus, tmp_path):
    """The recipe is the same, the file is not: going on would quietly be another run."""
    text = tmp_path / "text.jsonl"
    text.write_bytes(corpus.read_bytes())
    words = ("pretrain", "--run-dir", tmp_path / "run", f"data.sources={text}", "export=none")
    process = qwen_base.start(*words)
    while not (tmp_path / "run/checkpoints/step-00000005").exists() and process.poll() is None:
        time.sleep(0.01)
    _kill(process)
    text.write_bytes(b"\n".join(corpus.read_bytes().splitlines()[:150]) + b"\n")
    done = qwen_base(*words, check=2)
    assert f"{text} changed since this run began" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.slow
def test_killed_while_a_checkpoint_is_written(finished_run, qwen_base, read, tmp_path, wait_for):
    run_dir = tmp_path / "run"
    process = qwen_base.start("pretrain", "--run-dir", run_dir)
    wait_for(lambda: (run_dir / "checkpoints/writing-00000010").exists(), process)
    _kill(process)
    assert not (run_dir / "checkpoints/step-00000010").exists(), "the kill came too late to prove anything"
    done = qwen_base("pretrain", "--run-dir", run_dir)
    assert "going on after step 5" in done.stdout
    assert read.trajectory(run_dir) == read.trajectory(finished_run)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kills_at_random_moments(environment, corpus):
    """Four kills over 40 steps, from the first import to the export; then nothing may be another than without them.
    The script does it fifty times, and with several processes."""
    script = Path(__file__).parents[2] / "scripts/prove_resume.py"
    words = ["--kills", "4", "--steps", "40", f"data.sources={corpus}"]
    done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASS" in done.stdout
