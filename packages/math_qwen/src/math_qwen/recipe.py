"""The math recipe: SFT, embedded problems, tasks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from qwen_shared.evaluation.settings import EvaluationSettings, TaskNames
from qwen_shared.recipe import SftRecipe
from qwen_shared.recipe.schema import Number, Positive, Section, Share
from qwen_shared.recipe.sft_schema import SftData

if TYPE_CHECKING:
    from math_qwen.problems import Problem

PROBLEMS = "problems"


class MathData(SftData):
    """`problems` are made here; other sources are read."""

    builtin: ClassVar[tuple[str, ...]] = (PROBLEMS,)


class Problems(Section):
    """The source `problems`: word problems and algebra, worked out and checked by sympy."""

    count: Positive = Field(60_000, description="training problems, all different")
    level1: Share = Field(0.7, description="share of those with operands up to 20, one step")
    level2: Share = Field(0.2, description="share of those with two-digit operands, one step")
    level3: Share = Field(0.1, description="share of those with two steps")
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Problems:
        if not any(self.mix.values()):
            raise ValueError("level1, level2 and level3 are all 0: no problem would be made")
        return self

    @property
    def mix(self) -> dict[int, float]:
        return {1: self.level1, 2: self.level2, 3: self.level3}


class MathEvaluation(EvaluationSettings):
    """How a question is shown and answers are drawn. Metrics compare only if these are the same."""

    samples: Positive = Field(1, description="answers to each problem; 1 is greedy, more are drawn and vote")
    temperature: Number = Field(
        0.7, ge=0.0, le=2.0, description="of answers that are drawn (report, section 2) and of samples in training"
    )


def training_problems(recipe: MathRecipe) -> Iterator[Problem]:
    """The problems of the source `problems`."""
    from math_qwen import problems  # loads sympy, which --help does not need

    settings = recipe.problems
    return problems.training(recipe.seed, settings.count, settings.mix, tuple(settings.languages))


class MathRecipe(SftRecipe):
    data: MathData
    problems: Problems = Problems.model_construct()
    evaluation: MathEvaluation
    tasks: TaskNames = Field(
        [], description="what `evaluate` asks, and `sft` before and after training: a,b or name:FILE"
    )
