"""The stages of a run, and the order of pairs in one. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_shared.errors import UserError

_WINDOW = 32  # batches


@dataclass(frozen=True)
class Stage:
    """Steps `first` + 1 to `last` of the run, with a new optimizer."""

    name: str
    first: int
    steps: int
    lr: float

    @property
    def last(self) -> int:
        return self.first + self.steps


def stages_of(recipe: RewardRecipe, pairs: Mapping[str, int]) -> list[Stage]:
    """From each stage's count of pairs. Raises UserError if the warm-up takes all steps."""
    stages: list[Stage] = []
    for name in STAGES[recipe.stage]:
        whole = int(recipe.epochs(name) * pairs[name]) // recipe.training.global_batch_size
        steps = recipe.steps(name) or max(1, whole)
        if recipe.schedule.warmup_steps >= steps:
            raise UserError(
                f"schedule.warmup_steps={recipe.schedule.warmup_steps} leaves nothing of the {steps} steps of {name}"
            )
        stages.append(Stage(name, stages[-1].last if stages else 0, steps, recipe.lr(name)))
    return stages


def training_order(lengths: Sequence[int], batch: int, seed: int, epochs: float, steps: int | None) -> np.ndarray:
    """Indices [steps · batch]: every pair once before any repeats.

    Pairs of similar length share a batch: shuffled, sorted by length within 32 batches, batches shuffled again. `steps`
    None: the full batches of `epochs`, at least one.
    """
    count = len(lengths)
    steps = steps or max(1, int(epochs * count) // batch)
    draw = np.random.default_rng(seed)
    rounds = -(-steps * batch // count)
    order = np.concatenate([draw.permutation(count) for _ in range(rounds)])[: steps * batch]
    by_length = np.asarray(lengths)[order]
    windows = []
    for start in range(0, len(order), _WINDOW * batch):
        window = order[start : start + _WINDOW * batch]
        sorted_ = window[np.argsort(by_length[start : start + _WINDOW * batch], kind="stable")]
        windows.append(draw.permutation(sorted_.reshape(-1, batch), axis=0).ravel())
    return np.concatenate(windows)
