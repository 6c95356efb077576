"""One finished run of the micro recipe, which tests look at, readers of what runs leave, and a quick way to runs."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import forked
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


# ---- many short runs


@pytest.fixture
def obeying():
    """For tests of what may not be written or read."""
    if os.geteuid() == 0 and not forked.OBEY:
        pytest.skip("nothing is read-only to root here")


class Command:
    """`qwen-base pretrain --config micro --run-dir RUN …`: what it printed, and that it ended as expected."""

    def __init__(self, environment, micro):
        self._environment, self._micro = environment, str(micro)

    def __call__(self, run_dir, *words, stdout: str | None = None, **environment) -> str:
        """A run that comes to its end in silence; returns what it said on stdout."""
        code, out, err = self._run(run_dir, words, environment, stdout)
        assert (code, err) == (0, ""), f"exit {code}\n{out}\n{err}"
        return out

    def ends(self, code, run_dir, *words, **environment) -> str:
        """A run that ends with this exit code; returns all that it said."""
        found, out, err = self._run(run_dir, words, environment)
        assert found == code, f"exit {found}\n{out}\n{err}"
        return out + err

    def refuses(self, run_dir, *words, **environment) -> str:
        """A run that ends with exit code 2 and one line; returns the line."""
        code, out, err = self._run(run_dir, words, environment)
        assert code == 2 and err.count("\n") == 1, f"exit {code}\n{out}\n{err}"
        assert err.startswith("qwen-base pretrain: error: ")
        return err

    def _run(self, run_dir, words, environment, stdout=None):
        command = [sys.executable, "-m", "qwen_base", "pretrain", "--config", self._micro, "--run-dir", run_dir, *words]
        env = self._environment | {name: str(value) for name, value in environment.items()}
        with Path(stdout).open("w") if stdout else contextlib.nullcontext(subprocess.PIPE) as out:
            done = forked.run(list(map(str, command)), env=env, stdout=out, stderr=subprocess.PIPE, text=True)
        return done.returncode, done.stdout or "", done.stderr


@pytest.fixture(scope="session")
def pretrain(environment, micro):
    return Command(environment, micro)


@pytest.fixture(scope="module")
def broken_off(finished_run, read):
    """broken_off(directory, after=15): the finished run as it was after that step, not yet exported."""

    def copy(run_dir: Path, after: int = 15) -> Path:
        shutil.copytree(finished_run, run_dir, ignore=shutil.ignore_patterns("export", "export-*"))
        for path in run_dir.glob("checkpoints/step-*"):
            if int(path.name[5:]) > after:
                shutil.rmtree(path)
        (run_dir / "manifest.json").write_text(json.dumps(read.manifest(run_dir) | {"status": "failed"}))
        return run_dir

    return copy


@pytest.fixture
def assert_unhurt(finished_run, read):
    """assert_unhurt(run): it is finished, every step and every weight as in the run that nothing happened to."""

    def check(run_dir: Path) -> None:
        assert read.manifest(run_dir)["status"] == "finished"
        assert read.trajectory(run_dir) == read.trajectory(finished_run)
        weights = [run / "export/model.safetensors" for run in (run_dir, finished_run)]
        assert weights[0].read_bytes() == weights[1].read_bytes()

    return check
