"""One finished run of the micro recipe, which the tests look at, and readers of what runs leave."""

import json
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
