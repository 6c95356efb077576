"""A model that learns, with torch or with DeepSpeed. Losses add up over micro-batches and ranks (see `math.losses`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from qwen_chat.deepspeed_config import know_states
from qwen_shared.backend import device
from qwen_shared.log import say
from qwen_shared.recipe.schema import Optimizer

Groups = list[dict[str, Any]]  # torch's parameter groups
Config = Callable[..., dict[str, Any]]  # makes DeepSpeed's settings


class Engine(Protocol):
    module: nn.Module
    sharded: bool  # its files are one for each process

    def __call__(self, *inputs: Any, **named: Any) -> Any: ...

    def backward(self, loss: Tensor, last: bool) -> None:
        """Adds a micro-batch's gradients; `last` of the optimizer step?"""

    def step(self, rates: list[float]) -> float:
        """One optimizer step, a rate per group; returns the gradients' global norm before clipping."""

    def whole(self) -> AbstractContextManager[None]:
        """Inside, this rank holds every parameter."""

    def save(self, directory: Path) -> None: ...

    def load(self, directory: Path) -> None: ...


def make_engine(
    module: nn.Module,
    groups: Groups,
    settings: Optimizer,
    precision: str,
    config: Callable[..., dict] | None,
    name: str,
) -> Engine:
    """`config` None: torch alone. `name` names the files."""
    optimizer = torch.optim.AdamW(
        groups, betas=(settings.beta1, settings.beta2), eps=settings.eps, weight_decay=settings.weight_decay
    )
    if config is None:
        return TorchEngine(module, optimizer, settings.clip_grad, precision, name)
    return DeepSpeedEngine(module, optimizer, config(clip_grad=settings.clip_grad), name)


def autocast(precision: str) -> torch.autocast:
    return torch.autocast(device().type, torch.bfloat16, enabled=precision == "bf16")


class TorchEngine:
    """fp32 weights, autocast for bf16."""

    sharded = False

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, clip: float, precision: str, name: str):
        self.module, self._optimizer, self._clip, self._precision = module, optimizer, clip, precision
        self._file = f"{name}.pt"
        self._learning = [p for group in optimizer.param_groups for p in group["params"]]

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        with autocast(self._precision):
            return self.module(*inputs, **named)

    def backward(self, loss: Tensor, last: bool) -> None:
        loss.backward()

    def step(self, rates: list[float]) -> float:
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        norm = nn.utils.clip_grad_norm_(self._learning, self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return norm.item()

    def whole(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def save(self, directory: Path) -> None:
        learning = {name for name, p in self.module.named_parameters() if p.requires_grad}
        weights = {name: tensor for name, tensor in self.module.state_dict().items() if name in learning}
        torch.save({"weights": weights, "optimizer": self._optimizer.state_dict()}, directory / self._file)

    def load(self, directory: Path) -> None:
        state = torch.load(directory / self._file, map_location=device(), weights_only=True)
        self.module.load_state_dict(state["weights"], strict=False)  # frozen weights come from the parent model
        self._optimizer.load_state_dict(state["optimizer"])


class DeepSpeedEngine:
    """Sharded by the ZeRO stage of its settings."""

    sharded = True

    def __init__(self, module: nn.Module, optimizer: torch.optim.Optimizer, config: dict, name: str):
        import deepspeed

        if device().type == "cpu":
            say(f"starting DeepSpeed for the {name}; on first use it compiles for minutes")
        self._engine, self._optimizer, _, _ = deepspeed.initialize(model=module, optimizer=optimizer, config=config)
        self.module, self._name = self._engine.module, name
        self._world_size = torch.distributed.get_world_size()

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        return self._engine(*inputs, **named)

    def backward(self, loss: Tensor, last: bool) -> None:
        self._engine.set_gradient_accumulation_boundary(last)
        # DeepSpeed averages over ranks; our losses add up.
        self._engine.backward(loss * self._world_size, scale_wrt_gas=False)

    def step(self, rates: list[float]) -> float:
        for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._engine.step()
        return float(self._engine.get_global_grad_norm() or 0.0)

    def whole(self) -> AbstractContextManager[None]:
        import deepspeed

        divided = self._engine.zero_optimization_partition_weights()
        return deepspeed.zero.GatheredParameters(list(self.module.parameters()), enabled=divided)

    def save(self, directory: Path) -> None:
        self._engine.save_checkpoint(str(directory), tag=self._name, exclude_frozen_parameters=True)

    def load(self, directory: Path) -> None:
        know_states()
        found, _ = self._engine.load_checkpoint(str(directory), tag=self._name, load_module_strict=False)
        if found is None:
            raise RuntimeError(f"{directory}: no DeepSpeed checkpoint of the {self._name}")


def frozen(module: nn.Module, config: Config | None) -> nn.Module:
    """A model without gradients, sharded under ZeRO 3."""
    module = module.eval().requires_grad_(False)
    settings = config() if config else {}
    if settings.get("zero_optimization", {}).get("stage") != 3:
        return module
    import deepspeed

    return deepspeed.initialize(model=module, config=settings)[0]
