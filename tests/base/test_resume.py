"""Stopped, killed, killed while saving: the same command goes on, and every later step is bit-identical."""

import os
import random
import signal
import time

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
@pytest.mark.parametrize("seed", range(3))
def test_kills_at_random_moments(seed, finished_run, qwen_base, read, tmp_path, steps_done):
    """Five kills a run, anywhere from the first import to the export; the trajectory is that of the unbroken run."""
    draw = random.Random(seed)
    run_dir = tmp_path / "run"
    for _ in range(5):
        process = qwen_base.start("pretrain", "--run-dir", run_dir)
        if draw.random() < 0.7:  # most of a short run's time is start-up: aim past it
            target = min(19, steps_done(run_dir) + draw.randint(1, 6))
            deadline = time.monotonic() + 60
            while process.poll() is None and steps_done(run_dir) < target and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(draw.random() * 0.2)
        else:
            time.sleep(draw.random() * 12)
        if process.poll() is not None:
            break
        _kill(process)
    qwen_base("pretrain", "--run-dir", run_dir)
    assert read.trajectory(run_dir) == read.trajectory(finished_run)
    assert read.manifest(run_dir)["status"] == "finished"
