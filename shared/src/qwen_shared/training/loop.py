"""The training loop: step, guard, log, validate, save, stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from qwen_shared import faults
from qwen_shared.backend import matmul_peak, synchronize
from qwen_shared.job.signals import StopRequest
from qwen_shared.model.sizes import flops_per_token
from qwen_shared.recipe import Recipe
from qwen_shared.run.saving import prune_checkpoints
from qwen_shared.training.checkpoint import go_back
from qwen_shared.training.engine import Engine, MicroBatch
from qwen_shared.training.guards import Guards
from qwen_shared.training.ranks import gather_reports
from qwen_shared.training.saving import Saver


class Batches(Protocol):
    """Data as a pure function of a batch's number, which is its step's. Numbers after the last step are spare (see
    `guards`)."""

    def micro_batches(self, number: int, /) -> Iterator[MicroBatch]: ...

    def digest(self, number: int, /) -> str: ...


class Log(Protocol):
    def log(self, step: int, metrics: dict[str, Any]) -> None: ...

    def rewind(self, step: int) -> None: ...


@dataclass(frozen=True)
class Hooks:
    """The job's part at intervals: `validate(step, final)` and `saved(step)`."""

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
    padded_vocab_size: int,
    progress: dict[str, Any] | None = None,
) -> None:
    """Train from `start_step` (0, or a checkpoint's, with its `progress`) to the last step. `rate` is the learning rate
    of a step.

    Raises Stopped after a signal, with everything saved, and FloatingPointError if loss or gradient stay non-finite
    step after step; the last checkpoint is from before.
    """
    steps, interval = recipe.training.steps, recipe.checkpoint.interval
    flops = flops_per_token(recipe.model, padded_vocab_size, recipe.data.seq_length)
    tokens_per_step = recipe.training.global_batch_size * recipe.data.seq_length
    peak = matmul_peak()
    saver = Saver(checkpoints, engine)
    guards = Guards(recipe.guards, steps, checkpoints, engine.processes.rank == 0)
    guards.load_state((progress or {}).get("guards", {}))

    def settle(wait: bool, tell: bool = True) -> None:
        """Prune and report once a checkpoint is whole."""
        saved = saver.finish(wait)
        if saved is not None:
            if engine.processes.rank == 0:
                prune_checkpoints(checkpoints, recipe.checkpoint)
            if tell:
                hooks.saved(saved)

    def go_back_from(step: int, loss: float) -> int | None:
        """Undo steps whose samples may have made the loss jump; returns the step to go on after, or None."""
        suspect = guards.first_suspect(step)
        if suspect is None:
            return None
        settle(wait=True)
        # From before the suspects, if such a checkpoint is still there.
        found = go_back(checkpoints, suspect, engine) or go_back(checkpoints, step, engine)
        if found is None:
            guards.accept_level(step, "with no checkpoint to go back to")
            return None
        guards.record_rollback(step, loss, found["step"], batches.digest)
        guards.load_state(found.get("guards", {}))
        tracker.rewind(found["step"])
        return found["step"]

    step = start_step
    with StopRequest() as stop:
        if step < steps:
            saver.check_room(min(steps, (step // interval + 1) * interval))  # fail now, not hours later
        while step < steps:
            step += 1
            faults.reach("training", step)
            began = time.perf_counter()
            lr, number = rate(step), guards.batch_number(step)
            samples = faults.spoil_samples(batches.micro_batches(number), number)
            result = engine.train_step(samples, lr, step, skip_update=guards.was_skipped(step))
            synchronize()
            seconds = time.perf_counter() - began
            reports = gather_reports(stop.asked, result.updated and guards.is_spike(result.loss), result.own_seconds)
            if reports.spike and (back := go_back_from(step, result.loss)) is not None:
                step = back
                continue
            try:
                guarded = guards.record(step, result)
            except FloatingPointError:
                settle(wait=True)
                raise
            speed = tokens_per_step / seconds

            metrics = {
                "train/loss": result.loss,
                "train/grad_norm": result.grad_norm,
                "train/lr": lr,
                "train/loss_tokens": result.tokens,
                "train/tokens_per_second": speed,
                **reports.timing(seconds),
                **guarded,
            }
            if peak:
                metrics["train/mfu"] = flops * speed / (peak * engine.layout.world_size)
            validating = step % recipe.evaluation.interval == 0 or step == steps
            if validating:
                metrics |= hooks.validate(step, step == steps)
            if validating or guards.last_step_skipped or step % recipe.tracking.log_interval == 0:
                tracker.log(step, {**metrics, "data/samples": batches.digest(number)})

            # A validation may take long: ask for signals again.
            stopping = step < steps and (stop.agreed() if validating else reports.stop)
            if (step % interval == 0 and not guards.last_step_skipped) or step == steps or stopping:
                settle(wait=True)
                saver.begin(step, {"step": step, "world_size": engine.layout.world_size, "guards": guards.state()})
            if stopping:
                settle(wait=True, tell=False)
                raise stop.stopped(step)
            settle(wait=step == steps)
