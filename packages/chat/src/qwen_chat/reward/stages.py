"""The stages of a run: preference-model pretraining, fine-tuning, or both. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qwen_chat.reward.recipe import STAGES, RewardRecipe
from qwen_shared.errors import UserError


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
