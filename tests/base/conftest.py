"""One finished run of the micro recipe, which tests look at, readers of what runs leave, and a quick way to runs."""

import json
import os
import shutil
import subprocess
import sys
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


# ---- many short runs

# Without these rights a read-only file is read-only to root as well.
OBEY = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
if os.geteuid() or not shutil.which("setpriv") or subprocess.run([*OBEY, "true"], capture_output=True).returncode:
    OBEY = []


@pytest.fixture
def obeying():
    """For tests of what may not be written or read."""
    if os.geteuid() == 0 and not OBEY:
        pytest.skip("nothing is read-only to root here")


# Importing Megatron takes longer than all that is tried here: it is done once, and every command gets a fork of that.
SERVER = """
import json, os, sys
from qwen_base.cli import main
from qwen_shared.backend.quick_import import quick_import
with quick_import():
    from qwen_shared.training import pretrain
for line in sys.stdin:
    words, environment, *outputs = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.update(environment)
        for descriptor, path in enumerate(outputs, start=1):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
        code = main(words)
        sys.stdout.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Command:
    """`qwen-base pretrain --config micro --run-dir RUN …`: what it printed, and that it ended as expected."""

    def __init__(self, server, micro, outputs):
        self._server, self._micro, self._outputs = server, str(micro), [str(outputs / "out"), str(outputs / "err")]

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
        argv = ["pretrain", "--config", self._micro, "--run-dir", str(run_dir), *map(str, words)]
        environment = {name: str(value) for name, value in environment.items()}
        out, err = self._outputs
        self._server.stdin.write(json.dumps([argv, environment, stdout or out, err]) + "\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return code, "" if stdout else Path(out).read_text(), Path(err).read_text()


@pytest.fixture(scope="module")
def pretrain(environment, micro, tmp_path_factory):
    server = subprocess.Popen(
        [*OBEY, sys.executable, "-c", SERVER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    yield Command(server, micro, tmp_path_factory.mktemp("outputs"))
    server.stdin.close()
    server.wait()


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
