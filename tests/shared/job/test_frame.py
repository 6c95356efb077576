"""The frame of every run: what it keeps, what it refuses, and what it says of the end."""

import json
from types import SimpleNamespace

import pytest

from qwen_shared.backend import Processes, resolve_precision
from qwen_shared.errors import Stopped, UserError
from qwen_shared.job.frame import run_job
from qwen_shared.job.spec import RunSpec
from qwen_shared.recipe.layout import ONE_PROCESS
from qwen_shared.run import Manifest


class Job:
    """A job without an engine. `train` is called with the run."""

    needs_parent = False

    def __init__(self, train=lambda run: None, sha256="1"):
        self._train, self._sha256 = train, sha256

    def prepare(self, run):
        return "prepared"

    def data(self, prepared):
        return [{"name": "text", "sha256": self._sha256}]

    def join(self, timeout):
        self.timeout = timeout.total_seconds()
        return Processes(0, 1, 0, 1, True, True)

    def train(self, run, prepared):
        assert prepared == "prepared"
        self._train(run)


@pytest.fixture
def run(changed, tmp_path, monkeypatch):
    from qwen_shared.job import frame

    monkeypatch.setattr(frame, "stop_processes", lambda: None)  # other tests of this process have groups

    def run(job, **changes):
        run_job(RunSpec(changed(**changes), ONE_PROCESS, tmp_path / "run", "toy train", "toy"), job)

    run.manifest = lambda: Manifest.read(tmp_path / "run")
    run.directory = tmp_path / "run"
    return run


def leave_checkpoint(run):
    """A checkpoint that is whole, whatever is in it."""
    from qwen_shared.run.integrity import write_hashes

    directory = run.checkpoints / "step-00000002"
    directory.mkdir(parents=True)
    (directory / "weights").write_text("weights")
    write_hashes(directory)
    raise Stopped("after step 2")


def test_the_manifest_says_how_a_run_ended(run):
    def finish(r):
        r.keep_results({"val/loss": 1.0})

    with pytest.raises(ZeroDivisionError):
        run(Job(lambda r: 1 / 0))
    assert (run.manifest().status, run.manifest().reason) == ("failed", "division by zero")
    with pytest.raises(Stopped):
        run(Job(leave_checkpoint))
    assert run.manifest().status == "stopped"
    run(Job(finish))
    assert (run.manifest().status, run.manifest().results) == ("finished", {"val/loss": 1.0})


def test_a_run_goes_on_with_the_precision_it_began_with(run):
    precisions = []
    auto = resolve_precision("auto")
    other = "fp32" if auto == "bf16" else "bf16"
    with pytest.raises(Stopped):
        run(Job(leave_checkpoint))
    assert run.manifest().precision == auto
    path = run.directory / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": other}))  # began on another machine
    run(Job(lambda r: precisions.append((r.precision, r.resume_step))))
    assert precisions == [(other, 2)] and run.manifest().precision == other


def test_a_run_does_not_go_on_with_other_data(run):
    with pytest.raises(Stopped):
        run(Job(leave_checkpoint))
    with pytest.raises(UserError, match="text changed since this run began"):
        run(Job(sha256="2"))
    assert run.manifest().status == "failed" and run.manifest().data == [{"name": "text", "sha256": "1"}]
    run(Job())


def test_collectives_wait_longer_than_the_watchdog(run):
    job = Job()
    run(job, guards={"step_timeout": 4000})
    assert job.timeout == 6000


def test_a_job_that_needs_its_parent_reads_it_at_every_start(run, changed, tmp_path, monkeypatch):
    from qwen_shared.job import frame

    fetched = []
    parent = SimpleNamespace(name="m", step=None, tokenizer="default", fetch=lambda: fetched.append(1) or tmp_path)
    monkeypatch.setattr(frame, "keep_parent", lambda *_: None)

    def start(needs_parent):
        job = Job(leave_checkpoint if not run.directory.exists() else lambda r: None)
        job.needs_parent = needs_parent
        run_job(RunSpec(changed(), ONE_PROCESS, run.directory, "toy train", "toy", parent), job)

    with pytest.raises(Stopped):
        start(needs_parent=False)
    assert fetched
    fetched.clear()
    start(needs_parent=False)
    assert not fetched
