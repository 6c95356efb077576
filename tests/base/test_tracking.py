"""What a real run leaves to be looked at: one W&B run over a kill and a stop, TensorBoard's files, a report."""

import json
import os
import signal
import subprocess

import pytest
from wandb.util import get_core_path

pytestmark = pytest.mark.slow
TRACKED = ("tracking.wandb=offline", "tracking.tensorboard=true")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory, qwen_base, wait_for_step):
    """A base run that was killed after a checkpoint, stopped by a signal, and finished."""
    run_dir = tmp_path_factory.mktemp("tracked") / "run"
    for number, step in ((signal.SIGKILL, 7), (signal.SIGTERM, 12)):
        process = qwen_base.start("pretrain", "--run-dir", run_dir, *TRACKED)
        wait_for_step(run_dir, step, process)
        os.killpg(process.pid, number)
        assert process.wait(timeout=120) in (-signal.SIGKILL, 75)
    qwen_base("pretrain", "--run-dir", run_dir, *TRACKED)
    return run_dir


def records(directory):
    """By W&B's own reader."""
    (file,) = directory.glob("run-*.wandb")
    command = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file", str(file)]
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_wandb_has_one_run_with_every_step_once(tracked, read):
    found = [record for path in sorted(tracked.glob("wandb/offline-run-*")) for record in records(path)]
    runs = [record["run"] for record in found if record["type"] == "run"]
    assert {run["run_id"] for run in runs} == {read.manifest(tracked)["wandb_run_id"]}
    assert {(run["run_group"], run["job_type"]) for run in runs} == {("micro", "pretrain")}
    rows = [record["history"]["item"] for record in found if record["type"] == "history"]
    assert [row["_step"] for row in rows] == list(range(1, 21))
    losses = [record["train/loss"] for record in read.records(tracked)]
    assert [row["train/loss"] for row in rows] == losses
    assert [row["_step"] for row in rows if "val/samples._type" in row] == [10, 20]
    assert [row["samples"] for row in rows] == [8 * step for step in range(1, 21)]
    assert any(record["type"] == "stats" for record in found)  # W&B's system metrics
    assert "eval/results._type" in rows[-1]


def test_the_run_is_as_if_nobody_had_looked(tracked, finished_run, read):
    assert read.trajectory(tracked) == read.trajectory(finished_run)


def test_tensorboard_and_report(tracked):
    assert list((tracked / "tensorboard").glob("events.out.tfevents.*"))
    page = (tracked / "report.html").read_text()
    assert "finished" in page and "bits_per_byte" in page and "the model" in page


def test_a_stopped_run_has_a_report_too(tmp_path, qwen_base, wait_for_step):
    process = qwen_base.start("pretrain", "--run-dir", tmp_path / "run")
    wait_for_step(tmp_path / "run", 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 75
    assert 'class="status stopped"' in (tmp_path / "run" / "report.html").read_text()


def test_lineage(tracked, tmp_path, qwen_base, read):
    """The next run knows whom it comes from, and so does W&B's config."""
    child = tmp_path / "child"
    qwen_base("pretrain", "--from", tracked, "--run-dir", child, "name=child", *TRACKED)
    (ancestor,) = read.manifest(child)["lineage"]
    parent = read.manifest(child)["parent"]
    assert parent.items() <= ancestor.items()
    assert (ancestor["kind"], ancestor["name"], ancestor["step"]) == ("base-pretrain", "micro", 20)
    assert ancestor["wandb_run_id"] == read.manifest(tracked)["wandb_run_id"]
    (directory,) = child.glob("wandb/offline-run-*")
    (run,) = [record["run"] for record in records(directory) if record["type"] == "run"]
    assert run["run_group"] == "micro"
    assert run["config"]["update"]["lineage"][0]["hash"] == parent["hash"]
    assert "micro" in (child / "report.html").read_text()
