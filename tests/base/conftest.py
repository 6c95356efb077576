"""One finished run of the micro recipe, which the tests look at, and readers of what runs leave."""

import json
import time
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, qwen_base) -> Path:
    """20 steps in one process, never stopped: what all other ways of running must equal."""
    run_dir = tmp_path_factory.mktemp("runs") / "finished"
    qwen_base("pretrain", "--run-dir", run_dir)
    return run_dir


def records(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def manifest(run_dir: Path) -> dict:
    return json.loads((run_dir / "manifest.json").read_text())


# What a step is, apart from when and how fast it ran.
RESULT = ("step", "tokens", "samples", "data/samples", "train/loss", "train/grad_norm", "train/lr", "val/loss")


def trajectory(run_dir: Path) -> list[tuple]:
    return [tuple(record.get(name) for name in RESULT) for record in records(run_dir)]


@pytest.fixture(scope="session")
def read():
    """read.records(run), read.manifest(run), read.trajectory(run)"""

    class Read:
        pass

    Read.records, Read.manifest, Read.trajectory = map(staticmethod, (records, manifest, trajectory))
    return Read


@pytest.fixture(scope="session")
def steps_done():
    """steps_done(run): how many steps the metrics file holds."""

    def count(run_dir: Path) -> int:
        path = run_dir / "metrics.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    return count


@pytest.fixture(scope="session")
def wait_for():
    """wait_for(condition, process): until it holds, or the process ends, or it takes far too long."""

    def wait(condition, process, seconds: float = 150.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert process.poll() is None, f"ended early\n{process.communicate()[0]}"
            assert time.monotonic() < deadline, "waited too long"
            time.sleep(0.002)

    return wait


@pytest.fixture(scope="session")
def wait_for_step(steps_done, wait_for):
    """wait_for_step(run, step, process)"""
    return lambda run_dir, step, process: wait_for(lambda: steps_done(run_dir) >= step, process)
