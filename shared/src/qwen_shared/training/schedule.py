"""The learning rate as a function of the step: there is no scheduler state."""

from __future__ import annotations

import math
from collections.abc import Callable

from qwen_shared.recipe.schema import Recipe, Schedule


def learning_rate(schedule: Schedule, peak: float, step: int, steps: int) -> float:
    """The rate of `step`, from 1 to `steps`.

    Warm-up is linear and reaches `peak` at step `warmup_steps`. Then `constant` stays; `cosine` and `linear` fall to
    `min_lr_ratio · peak` at the last step; `wsd` stays, and falls linearly there in the last `decay_steps`.
    """
    if step <= schedule.warmup_steps:
        return peak * step / schedule.warmup_steps
    floor = schedule.min_lr_ratio * peak
    if schedule.kind == "constant":
        return peak
    if schedule.kind == "wsd":
        decay = schedule.decay_steps or max(1, steps // 10)
        done = max(0.0, (step - (steps - decay)) / decay)
        return peak - (peak - floor) * done
    done = (step - schedule.warmup_steps) / (steps - schedule.warmup_steps)
    if schedule.kind == "linear":
        return peak - (peak - floor) * done
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * done))


def lr_schedule(recipe: Recipe) -> Callable[[int], float]:
    return lambda step: learning_rate(recipe.schedule, recipe.optimizer.lr, step, recipe.training.steps)
