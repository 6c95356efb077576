"""However the work is divided, it is the same run: same samples at each step, losses equal to 1e-5."""

import json
import shutil
import signal
from functools import cache
from pathlib import Path

import pytest

# One export from shards is proof enough: it is made, and proved, in a process of its own.
LAYOUTS = {
    "tensor": ["parallel.tensor_parallel=2"],
    "pipeline": ["parallel.pipeline_parallel=2", "export=none"],
    "data": ["export=none"],
}


@pytest.fixture(scope="module")
def run_of(tmp_path_factory, qwen_base):
    """run_of(layout): its run, 20 steps never stopped, made when it is first asked for."""

    @cache
    def make(layout: str) -> Path:
        run_dir = tmp_path_factory.mktemp("layouts") / layout
        qwen_base("pretrain", "--run-dir", run_dir, "--nproc", 2, *LAYOUTS[layout])
        return run_dir

    return make


@pytest.mark.parametrize(
    "layout", ["data", *(pytest.param(name, marks=pytest.mark.slow) for name in ("tensor", "pipeline"))]
)
def test_layout_changes_nothing(layout, finished_run, read, run_of):
    expected, got = read.records(finished_run), read.records(run_of(layout))
    assert [r["data/samples"] for r in got] == [r["data/samples"] for r in expected]
    assert [r["train/loss"] for r in got] == pytest.approx([r["train/loss"] for r in expected], rel=1e-5)
    assert [r["train/grad_norm"] for r in got] == pytest.approx([r["train/grad_norm"] for r in expected], rel=1e-3)
    assert got[-1]["val/loss"] == pytest.approx(expected[-1]["val/loss"], rel=1e-5)
    assert got[-1]["val/bits_per_byte"] == pytest.approx(expected[-1]["val/bits_per_byte"], rel=1e-5)
    if layout == "tensor":
        assert read.manifest(run_of(layout))["results"]["export/max_logit_difference"] <= 1e-4


@pytest.mark.slow
def test_two_processes_stop_and_go_on_exactly(qwen_base, read, run_of, tmp_path, wait_for_step):
    """The whole group is told once by its launcher; the resumed run equals one that was never stopped."""
    layout, run_dir = "data", tmp_path / "stopped"
    words = ("pretrain", "--run-dir", run_dir, "--nproc", 2, *LAYOUTS[layout])
    process = qwen_base.start(*words)
    wait_for_step(run_dir, 3, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert len(read.records(run_dir)) < 20
    qwen_base(*words)
    assert read.trajectory(run_dir) == read.trajectory(run_of(layout))


@pytest.mark.slow
def test_another_layout_goes_on_where_one_process_stopped(finished_run, qwen_base, read, tmp_path, wait_for_step):
    """A checkpoint does not know how many processes wrote it."""
    run_dir = tmp_path / "moved"
    process = qwen_base.start("pretrain", "--run-dir", run_dir, "export=none")
    wait_for_step(run_dir, 4, process)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    stopped_at = len(read.records(run_dir))
    qwen_base("pretrain", "--run-dir", run_dir, "export=none", "--nproc", 2, "parallel.tensor_parallel=2")
    expected, got = read.records(finished_run), read.records(run_dir)
    assert stopped_at < len(got) == len(expected)
    assert [r["data/samples"] for r in got] == [r["data/samples"] for r in expected]
    assert [r["train/loss"] for r in got] == pytest.approx([r["train/loss"] for r in expected], rel=1e-5)


@pytest.mark.slow
def test_damage_is_told_to_every_rank(qwen_base, read, run_of, tmp_path):
    """Rank 0 meets a broken list of hashes; nobody is left waiting, and the checkpoint before is taken."""
    run_dir = shutil.copytree(run_of("data"), tmp_path / "damaged")
    manifest = read.manifest(run_dir)
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"status": "stopped"}))
    (run_dir / "checkpoints/step-00000020/integrity.json").write_text("{")
    done = qwen_base("pretrain", "--run-dir", run_dir, "--nproc", 2, *LAYOUTS["data"])
    assert "step-00000020 is damaged" in done.stdout and "going on after step 15" in done.stdout
    assert read.trajectory(run_dir) == read.trajectory(run_of("data"))
