"""Checkpoints of every engine: which ones stay."""

from qwen_shared.recipe.schema import Checkpoint
from qwen_shared.run.paths import checkpoint_path, list_checkpoints
from qwen_shared.run.saving import prune_checkpoints


def _make(directory, *steps):
    for step in steps:
        checkpoint_path(directory, step).mkdir(parents=True)
        (checkpoint_path(directory, step) / "file").touch()


def test_the_last_and_the_round_ones_are_kept(tmp_path):
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
