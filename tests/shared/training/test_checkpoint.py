"""Checkpoints on disk: which are kept, and what is done about a damaged or half-written one."""

import dataclasses
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.metadata import BytesStorageMetadata

from qwen_shared.errors import UserError
from qwen_shared.run.paths import checkpoint_path, list_checkpoints


def test_a_damaged_checkpoint_is_passed_over(make_engine, batches, tmp_path, capsys):
    """One bit of the newest is wrong: the one before is taken, and it is said."""
    from qwen_shared.run.integrity import newest_whole_checkpoint
    from qwen_shared.training.saving import save_checkpoint

    engine = make_engine()
    assert newest_whole_checkpoint(tmp_path) == 0
    for step in (1, 2):
        engine.train_step(batches(8), 1e-2)
        save_checkpoint(tmp_path, step, engine, {"step": step, "world_size": 1})
    assert newest_whole_checkpoint(tmp_path) == 2
    for step, expected in ((2, 1), (1, None)):
        data = checkpoint_path(tmp_path, step) / "__0_0.distcp"
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 1
        data.write_bytes(content)
        if expected:
            assert newest_whole_checkpoint(tmp_path) == expected
            assert "step-00000002 is damaged" in capsys.readouterr().out
            assert list_checkpoints(tmp_path) == [1] and (tmp_path / "damaged-00000002").is_dir()
        else:
            with pytest.raises(UserError, match="every checkpoint is damaged"):
                newest_whole_checkpoint(tmp_path)


@pytest.mark.parametrize("missing", ["integrity.json", ".metadata", "metadata.json", "__0_0.distcp"])
def test_a_checkpoint_without_one_of_its_files_is_passed_over(make_engine, tmp_path, missing):
    from qwen_shared.run.integrity import newest_whole_checkpoint
    from qwen_shared.training.saving import save_checkpoint

    engine = make_engine()
    for step in (1, 2):
        save_checkpoint(tmp_path, step, engine, {"step": step, "world_size": 1})
    (checkpoint_path(tmp_path, 2) / missing).unlink()
    assert newest_whole_checkpoint(tmp_path) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_going_back_is_as_if_nothing_had_been_since(make_engine, batches, tmp_path, precision):
    """In the living engine, with dropout's random states; later checkpoints are gone."""
    from qwen_shared.training.checkpoint import go_back
    from qwen_shared.training.saving import save_checkpoint

    engine = make_engine(precision=precision, training={"dropout": 0.1})

    def train(count):
        return [engine.train_step(batches(8), 1e-2) for _ in range(count)]

    train(2)
    save_checkpoint(tmp_path, 2, engine, {"step": 2, "world_size": 1})
    expected = train(3)
    save_checkpoint(tmp_path, 5, engine, {"step": 5, "world_size": 1})
    train(2)
    assert go_back(tmp_path, 2, engine) is None
    assert list_checkpoints(tmp_path) == [2, 5]
    assert go_back(tmp_path, 5, engine)["step"] == 2
    assert list_checkpoints(tmp_path) == [2]
    assert train(3) == expected


class _Program:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("where", ["the index", "an object"])
def test_a_program_in_a_checkpoint_whose_hashes_fit_is_not_run(make_engine, tmp_path, where):
    from qwen_shared.convert.checkpoint import read_checkpoint
    from qwen_shared.run.integrity import damage, write_hashes
    from qwen_shared.training.checkpoint import load_checkpoint
    from qwen_shared.training.saving import save_checkpoint

    engine, marker = make_engine(), tmp_path / "done"
    save_checkpoint(tmp_path, 1, engine, {"step": 1, "world_size": 1})
    directory = checkpoint_path(tmp_path, 1)
    if where == "an object":
        _replace_objects(directory, _Program(marker))
    else:
        (directory / ".metadata").write_bytes(pickle.dumps(_Program(marker)))
    write_hashes(directory)
    assert damage(directory) is None
    with pytest.raises(UserError, match="is not opened"):
        load_checkpoint(tmp_path, 1, engine)
    if where == "the index":
        with pytest.raises(UserError, match="is not opened"):
            read_checkpoint(directory, engine.recipe.model)
    assert not marker.exists()


def _replace_objects(directory, program):
    """Every object that is no tensor, with another put at the end of its file."""
    index = pickle.loads((directory / ".metadata").read_bytes())
    content = io.BytesIO()
    torch.save(program, content)
    for name, place in index.storage_data.items():
        if isinstance(index.state_dict_metadata[name.fqn], BytesStorageMetadata):
            file = directory / place.relative_path
            there = dataclasses.replace(place, offset=file.stat().st_size, length=len(content.getvalue()))
            index.storage_data[name] = there
            with file.open("ab") as opened:
                opened.write(content.getvalue())
    (directory / ".metadata").write_bytes(pickle.dumps(index))
