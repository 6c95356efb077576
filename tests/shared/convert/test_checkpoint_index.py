"""A checkpoint from somebody else may hold anything; opening it runs nothing."""

import io
import pickle
import pickletools

import pytest
import torch
import torch.distributed.checkpoint as dcp

from qwen_shared.convert.checkpoint_index import INDEX, check_index
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
    import os
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
