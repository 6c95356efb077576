"""Three repairs to how Megatron's distributed optimizer loads the state of torch's AdamW.

Megatron 0.19 tests it with Apex's and Transformer Engine's Adam, which count steps per group. torch counts per
parameter, and Megatron (a) reads the count for the checkpoint's structure before the first step creates it, (b) looks
it up among the tensors after removing it from them, and (c) loads one tensor as every parameter's count, so that each
parameter's step advances all counts.
"""

from __future__ import annotations

import torch
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer


def make_loadable(optimizer: MegatronOptimizer) -> None:
    """Repairs (a) and (b); call once after the optimizer is built."""
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
