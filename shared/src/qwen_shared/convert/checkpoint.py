"""Reading Megatron checkpoints: the index, `.metadata`, which is a pickle and could run code, and the model weights.

Importing this module makes torch read indices with `_Reader`. For other pickles see `qwen_shared.__init__`.
"""

from __future__ import annotations

import importlib
import pickle
import re
import types
from pathlib import Path
from typing import IO, Any, cast

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import filesystem
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from qwen_shared.convert.names import megatron_names
from qwen_shared.errors import UserError
from qwen_shared.recipe.schema import Model

INDEX = ".metadata"

_DTYPES = (
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
    *("bfloat16", "float16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
)
_NAMES = {
    "torch": ("Size", "strided", *_DTYPES),
    "torch.serialization": ("_get_layout",),
    "torch.distributed.checkpoint.metadata": (
        *("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties", "_MEM_FORMAT_ENCODING"),
        *("BytesStorageMetadata", "ChunkStorageMetadata", "TensorStorageMetadata"),
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch.distributed.checkpoint.planner": ("SavePlan", "TensorWriteData", "WriteItem", "WriteItemType"),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return getattr(importlib.import_module(module), name)


def _load(file: IO[bytes]) -> Any:
    return _Reader(file).load()


filesystem.pickle = types.SimpleNamespace(**(vars(pickle) | {"load": _load}))  # type: ignore[assignment]


def check_index(checkpoint: Path) -> None:
    """Raises UserError if the index cannot be read, holds other classes, or points outside the checkpoint."""
    path = checkpoint / INDEX
    try:
        with path.open("rb") as file:
            index = _load(file)
        assert isinstance(index, Metadata) and index.state_dict_metadata, "describes no tensors"
        for place in index.storage_data.values():
            name = place.relative_path
            assert isinstance(name, str) and name == Path(name).name, f"points to {name}"
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # broken pickles raise nearly any exception
        raise UserError(f"{path} is not the index of a checkpoint ({error}): it is not opened") from None


def read_checkpoint(path: Path, model: Model) -> dict[str, Tensor]:
    """Whole tensors by global name, whatever layout wrote them, in their training dtype, on the CPU.

    Raises UserError as `check_index` does. The checkpoint stacks layers: `decoder.layers.mlp.linear_fc2.weight` is
    [L, H, F].
    """
    check_index(path)
    reader = dcp.FileSystemReader(path)
    stored = cast(dict[str, TensorStorageMetadata], reader.read_metadata().state_dict_metadata)
    layers = re.compile(r"layers\.(\d+)\.")
    places = {name: layers.search(name) for name in megatron_names(model)}
    stacked = {name: name.replace(m[0], "layers.") if m else name for name, m in places.items()}
    tensors = {key: torch.empty(stored[key].size, dtype=stored[key].properties.dtype) for key in set(stacked.values())}
    dcp.load(tensors, storage_reader=reader, no_dist=True)
    return {name: tensors[key][int(m[1])] if (m := places[name]) else tensors[key] for name, key in stacked.items()}
