"""A checkpoint of any kind is taken only as it was written."""

import os
import pickle

import pytest

from qwen_shared.errors import UserError
from qwen_shared.files import room_problem
from qwen_shared.run.integrity import HASHES, damage, data_alone, newest_whole_checkpoint, require_whole, write_hashes
from qwen_shared.run.paths import checkpoint_path, list_checkpoints


@pytest.fixture
def checkpoints(tmp_path):
    """Checkpoints of steps 1 and 2, with a directory in them as DeepSpeed makes."""
    for step in (1, 2):
        path = checkpoint_path(tmp_path, step)
        (path / "policy").mkdir(parents=True)
        (path / "policy/weights.pt").write_bytes(bytes(1000))
        (path / "state.json").write_text("{}")
        write_hashes(path)
    return tmp_path


def flip(path):
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)


HARM = {
    "hash mismatch": flip,
    "policy/weights.pt: hash mismatch": lambda path: os.truncate(path, 999),
    "policy/weights.pt: file missing": lambda path: path.unlink(),
    "integrity.json: file missing": lambda path: (path.parents[1] / HASHES).unlink(),
    "integrity.json: not readable": lambda path: (path.parents[1] / HASHES).write_text('{"algorithm": "sha256"}'),
    "integrity.json: hashes of an unknown kind": lambda path: (path.parents[1] / HASHES).write_text(
        '{"algorithm": "crc"}'
    ),
}


@pytest.mark.parametrize("words", HARM)
def test_what_is_harmed_is_passed_over(words, checkpoints, capsys):
    newest = checkpoint_path(checkpoints, 2)
    assert damage(newest) is None
    assert newest_whole_checkpoint(checkpoints) == 2
    HARM[words](newest / "policy/weights.pt")
    assert words in damage(newest)
    with pytest.raises(UserError, match="step-00000002 is damaged"):
        require_whole(checkpoints, 2)
    assert newest_whole_checkpoint(checkpoints) == 1
    assert "going back to step 1" in capsys.readouterr().out
    assert list_checkpoints(checkpoints) == [1]


def test_one_from_before_a_step(checkpoints):
    assert newest_whole_checkpoint(checkpoints, before=2) == 1
    assert newest_whole_checkpoint(checkpoints, before=1) == 0
    assert list_checkpoints(checkpoints) == [1, 2]


def test_room(tmp_path):
    assert room_problem(tmp_path / "not/yet/there", 1000) is None
    assert "No space left on device: 1,000,000,000.0 GB are needed, " in room_problem(tmp_path, 10**18)


def test_what_is_not_read_is_told_in_one_line(tmp_path):
    with pytest.raises(UserError, match="step-1 holds more than data") as told, data_alone(tmp_path / "step-1"):
        raise pickle.UnpicklingError("Weights only load failed.\nDo not follow this advice.")
    assert "advice" not in str(told.value)
