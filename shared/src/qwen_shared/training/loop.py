"""The training loop, from top to bottom: step, log, validate, save, stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qwen_shared.backend import matmul_peak, synchronize
from qwen_shared.errors import Stopped
from qwen_shared.model.sizes import flops_per_token
from qwen_shared.recipe import Recipe
from qwen_shared.training.checkpoint import prune_checkpoints
from qwen_shared.training.engine import Engine, MicroBatch
from qwen_shared.training.saving import Saver
from qwen_shared.training.signals import StopRequest


class Batches(Protocol):
    """What the loop asks of data: a pure function of the step."""

    def step(self, step: int) -> Iterator[MicroBatch]: ...

    def digest(self, step: int) -> str: ...


class Log(Protocol):
    def log(self, step: int, metrics: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class Hooks:
    """What happens at intervals, given by the job: `validate(step, final)` and `saved(step)`."""

    validate: Callable[[int, bool], dict[str, float]]
    saved: Callable[[int], None]


def train(
    recipe: Recipe,
    engine: Engine,
    batches: Batches,
    rate: Callable[[int], float],
    hooks: Hooks,
    tracker: Log,
    checkpoints: Path,
    start_step: int,
    vocab_rows: int,
) -> None:
    """Train from `start_step` (a checkpoint's, or 0) to the last step. `rate` is the learning rate of a step.

    Raises Stopped after a signal, with everything saved, and FloatingPointError where the loss or the gradient is
    no longer finite: the last checkpoint is from before.
    """
    steps, interval = recipe.training.steps, recipe.checkpoint.interval
    flops = flops_per_token(recipe.model, vocab_rows, recipe.data.seq_length)
    tokens_per_step = recipe.training.global_batch_size * recipe.data.seq_length
    peak = matmul_peak()
    saver = Saver(checkpoints, engine)

    def settle(wait: bool, tell: bool = True) -> None:
        """What follows a checkpoint once it is whole."""
        saved = saver.finish(wait)
        if saved is not None:
            if engine.processes.rank == 0:
                prune_checkpoints(checkpoints, recipe.checkpoint)
            if tell:
                hooks.saved(saved)

    with StopRequest() as stop:
        for step in range(start_step + 1, steps + 1):
            began = time.perf_counter()
            lr = rate(step)
            result = engine.train_step(batches.step(step), lr)
            if not math.isfinite(result.loss) or not math.isfinite(result.grad_norm):
                settle(wait=True)
                raise FloatingPointError(
                    f"step {step}: loss {result.loss}, gradient norm {result.grad_norm}; checkpoints are from before. "
                    "A lower optimizer.lr or a longer schedule.warmup_steps may help"
                )
            synchronize()
            speed = tokens_per_step / (time.perf_counter() - began)

            metrics = {
                "train/loss": result.loss,
                "train/grad_norm": result.grad_norm,
                "train/lr": lr,
                "train/loss_tokens": result.tokens,
                "train/tokens_per_second": speed,
            }
            if peak:
                metrics["train/mfu"] = flops * speed / (peak * engine.layout.world_size)
            validating = step % recipe.evaluation.interval == 0 or step == steps
            if validating:
                metrics |= hooks.validate(step, step == steps)
            if validating or step % recipe.tracking.log_interval == 0:
                tracker.log(step, {**metrics, "data/samples": batches.digest(step)})

            stopping = step < steps and stop.agreed()
            if step % interval == 0 or step == steps or stopping:
                settle(wait=True)
                saver.begin(step, {"step": step, "world_size": engine.layout.world_size})
            if stopping:
                settle(wait=True, tell=False)
                raise Stopped(
                    f"stopped by {stop.name} after step {step}, all saved: the same command goes on from there"
                )
            settle(wait=step == steps)
