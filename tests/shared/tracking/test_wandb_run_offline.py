"""What W&B's own reader finds in its offline directories after kills: one run, every step once, and the tables."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from wandb.util import get_core_path

from qwen_shared.run import Manifest, read_metrics
from qwen_shared.tracking.wandb_run import last_step

pytestmark = pytest.mark.slow  # four processes, each with a W&B of its own

# One process of a run: goes on after a step, and ends as it is told.
PROCESS = """
import os, signal, sys, time
from pathlib import Path
from qwen_shared.recipe.schema import Tracking
from qwen_shared.run import Manifest
from qwen_shared.tracking import Tracker
from qwen_shared.tracking.wandb_run import last_step

run_dir, resume, last, ending = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
if (run_dir / "manifest.json").exists():
    manifest = Manifest.read(run_dir)
else:
    manifest = Manifest.create("qwen-base pretrain", "base-pretrain", "small")
tracker = Tracker(run_dir, {"name": "small"}, Tracking(wandb="offline"), manifest, 20, 64, 4, resume)
if not resume:
    for name in ("one", "two", "three"):
        tracker.table(f"eval/{name}/answers_before", [{"question": name, "answer": "?"}])
for step in range(resume + 1, last + 1):
    if step % 4 == 0:
        tracker.sample_table(step, [{"prompt": "The", "text": f" text of step {step}"}] * 2)
    more = {f"many/{k}": step / (k + 1) for k in range(150)}  # enough that W&B writes some to the disk at once
    tracker.log(step, {"train/loss": 10.0 - step} | more)
if ending == "kill":
    deadline = time.monotonic() + 30  # figures go to W&B aside: none may be there yet
    while last > 4 and last_step(run_dir, manifest.wandb_run_id) <= 4 and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
if ending == "finished":
    manifest.results = {"before/val/loss": 9.0, "val/loss": 1.0}
    for name in ("one", "two", "three"):
        tracker.table(f"eval/{name}/answers_after", [{"question": name, "answer": "!"}])
tracker.finish(ending)
"""


def process(run_dir, resume, last, ending):
    environment = os.environ | {"WANDB_MODE": "offline"}
    words = [sys.executable, "-c", PROCESS, str(run_dir), str(resume), str(last), ending]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == (-signal.SIGKILL if ending == "kill" else 0), done.stderr


def inspect(directory: Path) -> list[dict]:
    """Every record of a W&B directory, by W&B's own reader."""
    (file,) = directory.glob("run-*.wandb")
    command = [get_core_path(), "leet", "inspect", "--json", "--no-observability", "--run-file", str(file)]
    done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=True, timeout=60)
    return [json.loads(line) for line in done.stdout.splitlines()]


def read_back(run_dir: Path):
    """W&B run records, and rows of history, in the order of the directories."""
    runs, rows = [], []
    for directory in sorted((run_dir / "wandb").glob("offline-run-*")):
        records = inspect(directory)
        runs += [record["run"] for record in records if record["type"] == "run"]
        rows += [record["history"]["item"] for record in records if record["type"] == "history"]
    return runs, rows


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """Killed twice, then finished. W&B loses what it held in memory, and has steps of after the checkpoint."""
    directory = tmp_path_factory.mktemp("run")
    process(directory, 0, 3, "kill")  # no checkpoint yet: it begins again
    process(directory, 0, 19, "kill")
    assert 4 < last_step(directory, Manifest.read(directory).wandb_run_id) < 19
    process(directory, 4, 20, "finished")
    return directory


def test_one_run_over_all_restarts(run_dir):
    runs, _ = read_back(run_dir)
    wandb_id = Manifest.read(run_dir).wandb_run_id
    assert [path.name.rpartition("-")[2] for path in run_dir.glob("wandb/offline-run-*")] == [wandb_id] * 3
    assert {run["run_id"] for run in runs} == {wandb_id}
    assert {(run["run_group"], run["job_type"], run["display_name"]) for run in runs} == {
        ("small", "pretrain", "base-pretrain/small")
    }


def test_every_step_once_and_none_left_out(run_dir):
    _, rows = read_back(run_dir)
    assert [row["_step"] for row in rows] == list(range(21))
    assert [row.get("train/loss") for row in rows] == [None, *(10.0 - step for step in range(1, 21))]
    assert [record["step"] for record in read_metrics(run_dir / "metrics.jsonl")] == list(range(1, 21))


def test_tables(run_dir):
    """Samples stand in the rows of their steps, beside the count of samples; tables of before in that of step 0."""
    _, rows = read_back(run_dir)
    tables = {
        row["_step"]: sorted(k.removesuffix("._type") for k, v in row.items() if v == "table-file") for row in rows
    }
    before, after = ([f"eval/{n}/answers_{when}" for n in ("one", "three", "two")] for when in ("before", "after"))
    wanted = {0: before} | {step: ["val/samples"] for step in (4, 8, 12, 16)}
    wanted[20] = sorted([*after, "eval/results", "val/samples"])
    assert {step: names for step, names in tables.items() if names} == wanted
    for row in rows:
        if "val/samples._type" in row:
            assert (row["samples"], row["val/samples.nrows"], row["val/samples.ncols"]) == (4 * row["_step"], 2, 3)


def test_the_files_of_tables_are_there(run_dir):
    texts = {}
    for path in run_dir.glob("wandb/offline-run-*/files/media/table/val/samples_*.table.json"):
        table = json.loads(path.read_text())
        assert table["columns"] == ["step", "prompt", "text"]
        texts[table["data"][0][0]] = table["data"][0][2]
    assert texts == {step: f" text of step {step}" for step in (4, 8, 12, 16, 20)}


def test_an_evaluation_later_comes_after_the_last_step(run_dir):
    from qwen_shared.recipe.schema import Tracking
    from qwen_shared.tracking.wandb_run import WandbRun

    manifest = Manifest.read(run_dir)
    before = last_step(run_dir, manifest.wandb_run_id)
    wandb = WandbRun(run_dir, {}, Tracking(wandb="offline"), manifest)
    for name in ("one", "two"):
        wandb.table(None, name, [{"answer": "!"}])
    wandb.finish(failed=False)
    _, rows = read_back(run_dir)
    assert [row["_step"] for row in rows] == list(range(before + 2))
    assert {"one._type", "two._type"} <= rows[-1].keys()


def test_a_torn_file_is_read_to_its_last_whole_step(run_dir, tmp_path):
    (whole,) = list(run_dir.glob("wandb/offline-run-*/run-*.wandb"))[-1:]
    name = Manifest.read(run_dir).wandb_run_id
    torn = tmp_path / "wandb" / f"offline-run-1-{name}" / f"run-{name}.wandb"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(whole.read_bytes()[:-700])
    steps = [r["history"]["item"]["_step"] for r in inspect(torn.parent) if r["type"] == "history"]
    assert last_step(tmp_path, name) == max(steps, default=-1)
    torn.write_bytes(b"nothing of W&B's")
    assert last_step(tmp_path, name) == -1
    assert last_step(tmp_path, "another") == -1
