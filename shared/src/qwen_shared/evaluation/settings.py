"""The recipe's section on evaluation: how answers are drawn. No torch."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from qwen_shared.recipe import schema
from qwen_shared.recipe.schema import Number, Positive, Whole


def task_names(value: Any) -> Any:
    """A recipe's `tasks`: a list, or a text `a,b`."""
    return [task.strip() for task in value.split(",") if task.strip()] if isinstance(value, str) else value


TaskNames = Annotated[list[str], BeforeValidator(task_names)]


class EvaluationSettings(schema.Evaluation):
    """Prompts and sampling. Metrics compare only if these are equal."""

    prompt: Literal["auto", "chat", "base"] = Field(
        "auto", description="chat: the tokenizer's template; base: worked examples as text; auto: by the kind of model"
    )
    shots: Whole | None = Field(None, ge=0, description="worked examples before the question; default: the task's own")
    samples: Positive = Field(1, description="answers to each problem; 1 is greedy, more are drawn")
    temperature: Number = Field(
        0.8, ge=0.0, le=2.0, description="of answers that are drawn, and of samples in training"
    )
    top_p: Number = Field(1.0, gt=0.0, le=1.0, description="draw from the likeliest tokens that make up this share")
    max_new_tokens: Positive = Field(512, description="an answer that is longer is cut, and counted as such")
    batch_size: Positive | None = Field(
        None, description="prompts at once; default: 128, on a GPU 512, fewer if memory is short"
    )
    limit: Whole = Field(0, ge=0, description="only the first so many problems of each task; 0: all")
    seed: Whole = Field(0, ge=0, le=2**32 - 1, description="of answers that are drawn")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError(
                f"samples={self.samples} at temperature=0 would all be the same answer; give evaluation.temperature too"
            )
        return self

    @classmethod
    def of(cls, settings: EvaluationSettings) -> Self:
        """`settings`, with this class's defaults for missing fields: any verb may ask any task."""
        if isinstance(settings, cls):
            return settings
        return cls(**{key: value for key, value in settings if key in cls.model_fields})

    def of_answers(self) -> dict[str, Any]:
        """All fields that decide answers and metrics, without those of validation in training."""
        return self.model_dump(mode="json", exclude=set(schema.Evaluation.model_fields) - {"temperature"})
