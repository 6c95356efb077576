"""Stages of a run, each with its data and learning rate. A run without stages is one stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from qwen_shared.recipe import SftRecipe
from qwen_shared.recipe.sft_schema import Stage
from qwen_shared.training.schedule import learning_rate

if TYPE_CHECKING:
    from qwen_shared.training.engine import MicroBatch
    from qwen_shared.training.loop import Batches


def stages_of(recipe: SftRecipe) -> list[Stage]:
    return recipe.stages or [Stage(name="all", steps=recipe.training.steps)]


def stage_at(stages: Sequence[Stage], step: int) -> tuple[int, int]:
    """(stage from 0, step in it from 1) of a run's step (from 1)."""
    for i, stage in enumerate(stages):
        if step <= stage.steps:
            return i, step
        step -= stage.steps
    raise IndexError(f"{step} steps after the last stage")


def staged_lr_schedule(recipe: SftRecipe) -> Callable[[int], float]:
    """Each stage has its own schedule."""
    stages = stages_of(recipe)

    def rate(step: int) -> float:
        i, own_step = stage_at(stages, step)
        stage = stages[i]
        return learning_rate(stage.schedule or recipe.schedule, stage.lr or recipe.optimizer.lr, own_step, stage.steps)

    return rate


class StagedBatches:
    """The batches of each stage in turn. Numbers after the last step are spare batches (see `training.guards`) from
    the replaced step's stage."""

    def __init__(self, stages: Sequence[Stage], batches: Sequence[Batches]):
        self._stages, self._batches = stages, batches

    def micro_batches(self, number: int) -> Iterator[MicroBatch]:
        i, own_number = self._locate(number)
        return self._batches[i].micro_batches(own_number)

    def digest(self, number: int) -> str:
        i, own_number = self._locate(number)
        return self._batches[i].digest(own_number)

    def _locate(self, number: int) -> tuple[int, int]:
        spare, step = divmod(number - 1, sum(stage.steps for stage in self._stages))
        i, own_step = stage_at(self._stages, step + 1)
        return i, own_step + spare * self._stages[i].steps
