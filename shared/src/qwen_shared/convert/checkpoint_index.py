"""The index of a Megatron checkpoint, `.metadata`: a pickle, which torch opens with all that a pickle may do.

A checkpoint comes from anywhere, and its hashes can be made to fit. So before torch opens the index, it is gone through
with every name in it replaced by one that does nothing, and refused where it names what no index holds. The other
pickles of a checkpoint torch reads as data alone: see `qwen_shared.__init__`.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from qwen_shared.errors import UserError

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


class _Inert:
    """Stands for whatever an index names: can be made, and given a state, and does nothing."""

    def __new__(cls, *_: Any) -> _Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type[_Inert]:
        if name not in _NAMES.get(module, ()):
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return _Inert


def check_index(checkpoint: Path) -> None:
    """Raises UserError where the index of a checkpoint is none, or would do more than describe tensors."""
    path = checkpoint / INDEX
    try:
        with path.open("rb") as file:
            _Reader(file).load()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except Exception as error:  # bytes that are no pickle end in nearly any exception
        raise UserError(f"{path} is not the index of a checkpoint ({error}): it is not opened") from None
