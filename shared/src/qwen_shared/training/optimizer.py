"""The optimizer: torch's AdamW in Megatron's distributed optimizer, with three repairs to how its state is loaded.

Megatron 0.19 tests loading with Apex's and Transformer Engine's Adam, which count steps per group. torch counts per
parameter, and Megatron (a) reads the count for the checkpoint's structure before the first step creates it, (b) looks
it up among the tensors after removing it from them, and (c) loads one tensor as every parameter's count, so that each
parameter's step advances all counts.
"""

from __future__ import annotations

import torch
from megatron.core.optimizer import MegatronOptimizer, OptimizerConfig, get_megatron_optimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

from qwen_shared.recipe.schema import Optimizer


def build_optimizer(
    settings: Optimizer, model_chunks: list[torch.nn.Module], params_dtype: torch.dtype
) -> MegatronOptimizer:
    """For chunks in Megatron's data-parallel wrapper. Each data-parallel rank keeps a part of the state."""
    optimizer = get_megatron_optimizer(
        OptimizerConfig(
            optimizer="adam",
            lr=settings.lr,
            weight_decay=settings.weight_decay,
            adam_beta1=settings.beta1,
            adam_beta2=settings.beta2,
            adam_eps=settings.eps,
            clip_grad=settings.clip_grad,
            bf16=params_dtype == torch.bfloat16,
            params_dtype=params_dtype,
            use_distributed_optimizer=True,
        ),
        model_chunks,
    )
    _make_loadable(optimizer)
    return optimizer


def _make_loadable(optimizer: MegatronOptimizer) -> None:
    """Repairs (a) and (b)."""
    for inner in _distributed(optimizer):
        load = inner._set_main_param_and_optimizer_states
        # Megatron ignores a `step` that is not a tensor.
        inner._set_main_param_and_optimizer_states = lambda parameter, tensors, load=load: load(
            parameter, {"step": None, **tensors}
        )
        for group in inner.optimizer.param_groups:
            for parameter in group["params"]:
                inner.optimizer.state[parameter] = {
                    "step": torch.tensor(0.0),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }


def after_load(optimizer: MegatronOptimizer) -> None:
    """Repair (c); call after every `load_state_dict`."""
    for inner in _distributed(optimizer):
        for state in inner.optimizer.state.values():
            state["step"] = state["step"].clone()


def _distributed(optimizer: MegatronOptimizer) -> list[DistributedOptimizer]:
    return [
        inner
        for inner in optimizer.chained_optimizers
        if isinstance(inner, DistributedOptimizer) and isinstance(inner.optimizer, torch.optim.Adam)  # AdamW is one
    ]
