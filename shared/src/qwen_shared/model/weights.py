"""Initial weights by global name. `fill` keeps this rank's slices: every parallel layout starts from the same model."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from megatron.core import parallel_state
from torch import Tensor

from qwen_shared.model.builder import unwrap
from qwen_shared.model.qwen import QwenModel

WeightSource = Callable[[str, tuple[int, ...]], Tensor]  # (global name, whole shape) → the whole tensor

# Dimension that tensor parallelism divides. Other parameters are whole on every tensor rank.
_DIVIDED = {
    "embedding.word_embeddings.weight": 0,
    "output_layer.weight": 0,
    "self_attention.linear_qkv.weight": 0,
    "self_attention.linear_qkv.bias": 0,
    "self_attention.linear_proj.weight": 1,
    "mlp.linear_fc1.weight": 0,
    "mlp.linear_fc2.weight": 1,
}


@dataclass(frozen=True)
class GlobalParameter:
    """`name` counts layers over all stages; `shape` is the whole tensor's; tensor ranks divide `dim`."""

    name: str
    shape: tuple[int, ...]
    dim: int | None
    parameter: torch.nn.Parameter


def global_parameters(model: QwenModel) -> Iterator[GlobalParameter]:
    """This rank's parameters. The last stage's copy of a tied embedding has the embedding's name."""
    tp = parallel_state.get_tensor_model_parallel_world_size()
    first_layer = model.decoder.layers[0].layer_number - 1 if len(model.decoder.layers) else 0
    for local_name, parameter in model.named_parameters():
        name = re.sub(r"layers\.(\d+)\.", lambda m: f"layers.{int(m[1]) + first_layer}.", local_name)
        if name == "output_layer.weight" and model.share_embeddings_and_output_weights:
            name = "embedding.word_embeddings.weight"
        dim = _DIVIDED.get(re.sub(r"^decoder\.layers\.\d+\.", "", name))
        shape = list(parameter.shape)
        if dim is not None:
            shape[dim] *= tp
        yield GlobalParameter(name, tuple(shape), dim, parameter)


def local_slice(whole: Tensor, spec: GlobalParameter) -> Tensor:
    tp, rank = parallel_state.get_tensor_model_parallel_world_size(), parallel_state.get_tensor_model_parallel_rank()
    if spec.dim is None or tp == 1:
        return whole
    if spec.name.endswith("linear_fc1.weight"):
        # Gate and up are concatenated, in the whole tensor and in each rank's part.
        return torch.cat([half.chunk(tp, spec.dim)[rank] for half in whole.chunk(2, spec.dim)], spec.dim)
    return whole.chunk(tp, spec.dim)[rank]


@torch.no_grad()
def fill(chunks: list[torch.nn.Module], source: WeightSource) -> None:
    """Sets every parameter of this rank's model chunks."""
    for chunk in chunks:
        for spec in global_parameters(unwrap(chunk)):
            spec.parameter.copy_(local_slice(source(spec.name, spec.shape), spec))


def random_source(seed: int, num_layers: int, init_std: float, device: torch.device) -> WeightSource:
    """Random weights: N(0, init_std), output projections init_std / sqrt(2·num_layers), norms 1, biases 0.

    Each tensor has its own generator, seeded by `seed` and the tensor's global name.
    """

    def draw(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("layernorm.weight"):
            return torch.ones(shape, device=device)
        if name.endswith(".bias"):
            return torch.zeros(shape, device=device)
        std = (
            init_std / math.sqrt(2 * num_layers)
            if name.endswith(("linear_proj.weight", "linear_fc2.weight"))
            else init_std
        )
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator = torch.Generator(device=device).manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        return torch.empty(shape, device=device).normal_(0.0, std, generator=generator)

    return draw
