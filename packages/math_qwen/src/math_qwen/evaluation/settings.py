"""The recipe's section on evaluation. No torch, no sympy."""

from __future__ import annotations

from pydantic import Field

from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.recipe.schema import Number, Positive


class MathEvaluation(EvaluationSettings):
    """How a model is shown a question and how its answers are drawn. Metrics compare if these are the same."""

    samples: Positive = Field(1, description="answers to each problem; 1 is greedy, more are drawn and vote")
    temperature: Number = Field(
        0.7, ge=0.0, le=2.0, description="of answers that are drawn (report, section 2) and of samples in training"
    )
