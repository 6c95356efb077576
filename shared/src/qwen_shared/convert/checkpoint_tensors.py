"""The model weights of a Megatron checkpoint, written by any layout, as whole tensors by global name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import cast

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

from qwen_shared.convert.checkpoint_index import check_index
from qwen_shared.convert.names import megatron_names
from qwen_shared.recipe.schema import Model


def read_checkpoint(path: Path, model: Model) -> dict[str, Tensor]:
    """Whole tensors by global name, in their training dtype, on the CPU. Raises UserError as `check_index` does.

    The checkpoint stacks layers: `decoder.layers.mlp.linear_fc2.weight` is [L, H, F].
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
