"""The recipe's section on evaluation. No torch."""

from __future__ import annotations

from pydantic import Field

from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.recipe.schema import Number, Positive


class CodeEvaluation(EvaluationSettings):
    """How a model is asked for a program, how its answers are drawn, and for how long they may run."""

    k: list[Positive] = Field([1, 10, 100], description="pass@k for each of these that is no more than samples")
    top_p: Number = Field(0.95, gt=0.0, le=1.0, description="draw from the likeliest tokens that make up this share")
    timeout: Number = Field(10.0, gt=0.0, le=86_400.0, description="seconds that one program with its tests may take")
    workers: Positive | None = Field(None, description="programs that run side by side; default: one for each core")
