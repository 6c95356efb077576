"""However the work is divided, it is the same run: same samples at each step, losses equal to 1e-5."""

import json
import shutil
import signal

import pytest

# One export from shards is proof enough: it is made, and proved, in a process of its own.
LAYOUTS = {
    "tensor": ["parallel.tensor_parallel=2"],
    "pipeline": ["parallel.pipeline_parallel=2", "export=none"],
    "data": ["export=none"],
    "data, distributed optimizer": ["parallel.distributed_optimizer=true", "export=none"],
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("layouts")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_nothing(layout, finished_run, qwen_base, read, runs):
    qwen_base("pretrain", "--run-dir", runs / layout, "--nproc", 2, *LAYOUTS[layout])
    expected, got = read.records(finished_run), read.records(runs / layout)
    assert [r["data/samples"] for r in got] == [r["data/samples"] for r in expected]
    assert [r["train/loss"] for r in got] == pytest.approx([r["train/loss"] for r in expected], rel=1e-5)
    assert [r["train/grad_norm"] for r in got] == pytest.approx([r["train/grad_norm"] for r in expected], rel=1e-3)
    assert got[-1]["val/loss"] == pytest.approx(expected[-1]["val/loss"], rel=1e-5)
    assert got[-1]["val/bits_per_byte"] == pytest.approx(expected[-1]["val/bits_per_byte"], rel=1e-5)
    if layout == "tensor":
        assert read.manifest(runs / layout)["results"]["export/max_logit_difference"] <= 1e-4


def test_two_processes_stop_and_go_on_exactly(qwen_base, read, runs, wait_for_step):
    """The whole group is told once by its launcher; the resumed run equals the one above, which was never stopped."""
    layout = "data, distributed optimizer"
    words = ("pretrain", "--run-dir", runs / "stopped", "--nproc", 2, *LAYOUTS[layout])
    process = qwen_base.start(*words)
    wait_for_step(runs / "stopped", 3, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 75, said
    assert len(read.records(runs / "stopped")) < 20
    qwen_base(*words)
    assert read.trajectory(runs / "stopped") == read.trajectory(runs / layout)


def test_another_layout_goes_on_where_one_process_stopped(finished_run, qwen_base, read, runs, wait_for_step):
    """A checkpoint does not know how many processes wrote it."""
    run_dir = runs / "moved"
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


def test_damage_is_told_to_every_rank(qwen_base, read, runs):
    """Rank 0 meets a broken list of hashes; nobody is left waiting, and the checkpoint before is taken."""
    run_dir, layout = runs / "damaged", LAYOUTS["data"]
    shutil.copytree(runs / "data", run_dir)
    manifest = read.manifest(run_dir)
    (run_dir / "manifest.json").write_text(json.dumps(manifest | {"status": "stopped"}))
    (run_dir / "checkpoints/step-00000020/integrity.json").write_text("{")
    done = qwen_base("pretrain", "--run-dir", run_dir, "--nproc", 2, *layout)
    assert "step-00000020 is damaged" in done.stdout and "going on after step 15" in done.stdout
    assert read.trajectory(run_dir) == read.trajectory(runs / "data")
