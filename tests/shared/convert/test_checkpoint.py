"""A checkpoint from somebody else may hold anything; opening it runs nothing."""

import dataclasses
import io
import os
import pickle
import pickletools

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata

from qwen_shared.convert.checkpoint import INDEX, check_index
from qwen_shared.errors import UserError


class Runs:
    """As a pickle: a call of `function`."""

    def __init__(self, function, *words):
        self.call = function, words

    def __reduce__(self):
        return self.call


@pytest.fixture
def index(tmp_path):
    """What torch writes: tensors of several types, and an object."""
    state = {"w": torch.zeros(3, 4), "half": torch.zeros(2, dtype=torch.bfloat16), "n": torch.arange(3), "o": {"a": 1}}
    written = dcp.save(state, checkpoint_id=tmp_path, no_dist=True)
    written.storage_meta = None  # where it was written to, as a path: Megatron's has none
    (tmp_path / INDEX).write_bytes(pickle.dumps(written))
    return tmp_path / INDEX


def test_torchs_own_index_passes(index):
    check_index(index.parent)


def hostile(marker) -> dict[str, bytes]:
    import pathlib

    metadata = f"cpathlib\nPosixPath.touch\n(cpathlib\nPosixPath\n(V{marker}\ntRtR."  # a method, by way of its class
    return {
        "os.mkdir": pickle.dumps(Runs(os.mkdir, str(marker))),
        "eval": pickle.dumps(Runs(eval, f"__import__('os').mkdir({str(marker)!r})")),
        "pathlib": metadata.encode(),
        "inside": pickle.dumps({"state_dict_metadata": [{"a": Runs(os.mkdir, str(marker))}]}),
        "allowed module": pickle.dumps(Runs(torch.serialization.load, str(marker))),
        "dotted": pickle.dumps(Runs(pathlib.Path(marker).mkdir)),
        "torch.hub": b"\x80\x04\x8c\x05torch\x8c\x0dhub._get_cache\x93.",
        "another object": pickle.dumps(torch.Size(())),
        "no tensors": pickle.dumps(Metadata({})),
        "no pickle": b"nothing of the kind",
        "empty": b"",
        "deep": b"(" * 100_000,
    }


@pytest.mark.parametrize("kind", hostile("x"))
def test_any_other_is_refused_before_it_is_opened(kind, index):
    marker = index.parent / "done"
    index.write_bytes(hostile(marker)[kind])
    with pytest.raises(UserError, match="not the index of a checkpoint"):
        check_index(index.parent)
    assert not marker.exists()


@pytest.mark.parametrize("fallen_back", [False, True])
def test_torch_itself_opens_no_other(index, fallen_back):
    """Whoever asks it to; and the index of a single rank, which it takes where the other is none, is one, too."""
    marker = index.parent / "done"
    index.write_bytes(b"" if fallen_back else pickle.dumps(Runs(os.mkdir, str(marker))))
    index.with_name("__0.metadata").write_bytes(pickle.dumps(Runs(os.mkdir, str(marker))))
    with pytest.raises(CheckpointException):
        dcp.load({"w": torch.zeros(3, 4)}, checkpoint_id=index.parent, no_dist=True)
    assert not marker.exists()


def test_it_points_to_files_beside_it(index):
    content = pickle.loads(index.read_bytes())
    place = next(iter(content.storage_data))
    content.storage_data[place] = dataclasses.replace(content.storage_data[place], relative_path="../../etc/shadow")
    index.write_bytes(pickle.dumps(content))
    with pytest.raises(UserError, match="points to "):
        check_index(index.parent)


def test_what_is_hidden_in_torchs_own_index_is_found(index):
    """One name of a thousand is another."""
    content = index.read_bytes()
    names = [argument for _, argument, _ in pickletools.genops(content) if isinstance(argument, str)]
    for name in ("BytesStorageMetadata", "_get_layout", "Metadata"):
        assert name in names or any(name in other for other in names)
        index.write_bytes(content.replace(name.encode(), name[:-1].encode() + b"Z"))
        with pytest.raises(UserError):
            check_index(index.parent)


def test_torch_reads_data_alone_whatever_a_library_asks_for(tmp_path):
    marker = tmp_path / "done"
    file = io.BytesIO()
    torch.save({"state": Runs(exec, f"open({str(marker)!r}, 'w')")}, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=False)
    assert not marker.exists()
