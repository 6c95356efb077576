"""Checkpoints on disk: which are kept, and what is done about a damaged or half-written one."""

import pytest

from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.training.run_files import checkpoint_path, list_checkpoints


def _make(directory, *steps):
    for step in steps:
        checkpoint_path(directory, step).mkdir(parents=True)
        (checkpoint_path(directory, step) / "file").touch()


def test_the_last_and_the_round_ones_are_kept(megatron, tmp_path):
    from qwen_shared.training.checkpoint import prune_checkpoints

    _make(tmp_path, 50, 100, 150, 200, 250, 300)
    (tmp_path / "writing-00000350").mkdir()
    prune_checkpoints(tmp_path, Checkpoint(interval=50, keep_last=2, keep_every=100))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"step-{s:08d}" for s in (100, 200, 250, 300)]


def test_half_written_ones_are_not_listed(tmp_path):
    _make(tmp_path, 7)
    (tmp_path / "writing-00000008").mkdir()
    (tmp_path / "deleting-00000006").mkdir()
    assert list_checkpoints(tmp_path) == [7]
    assert list_checkpoints(tmp_path / "none") == []


def test_a_damaged_file_is_refused(make_engine, batches, tmp_path):
    from qwen_shared.training.checkpoint import load_checkpoint, save_checkpoint

    engine = make_engine()
    engine.train_step(batches(8), 1e-2)
    path = save_checkpoint(tmp_path, 1, engine, {"step": 1, "world_size": 1})
    data = path / "__0_0.distcp"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(UserError, match=r"step-00000001 is damaged"):
        load_checkpoint(tmp_path, 1, engine)
