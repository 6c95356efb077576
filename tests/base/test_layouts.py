"""However the work is divided, it is the same run: same samples at each step, losses equal to 1e-5."""

import pytest

LAYOUTS = {
    "tensor": ["parallel.tensor_parallel=2"],
    "pipeline": ["parallel.pipeline_parallel=2", "export=none"],
    "data": ["export=none"],
    "data, distributed optimizer": ["parallel.distributed_optimizer=true", "export=none"],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_nothing(layout, finished_run, qwen_base, read, tmp_path):
    qwen_base("pretrain", "--run-dir", tmp_path / "run", "--nproc", 2, *LAYOUTS[layout])
    expected, got = read.records(finished_run), read.records(tmp_path / "run")
    assert [r["data/samples"] for r in got] == [r["data/samples"] for r in expected]
    assert [r["train/loss"] for r in got] == pytest.approx([r["train/loss"] for r in expected], rel=1e-5)
    assert [r["train/grad_norm"] for r in got] == pytest.approx([r["train/grad_norm"] for r in expected], rel=1e-3)
    assert got[-1]["val/loss"] == pytest.approx(expected[-1]["val/loss"], rel=1e-5)
    assert got[-1]["val/bits_per_byte"] == pytest.approx(expected[-1]["val/bits_per_byte"], rel=1e-5)
    if layout == "tensor":  # the export was made from shards by a process of its own, and proved there
        assert read.manifest(tmp_path / "run")["results"]["export/max_logit_difference"] <= 1e-4
