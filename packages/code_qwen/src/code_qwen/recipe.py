"""Recipes: continued pretraining on code and text, and supervised fine-tuning on functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from code_qwen.corpus.settings import CodeSource, Filters
from qwen_shared.evaluation.settings import EvaluationSettings, TaskNames
from qwen_shared.recipe import PretrainRecipe, SftRecipe
from qwen_shared.recipe.schema import (
    Data,
    Flag,
    Number,
    Positive,
    Section,
    Share,
    Source,
    TrainingData,
    source_from_text,
    sources_from_text,
)
from qwen_shared.recipe.sft_schema import SftData

if TYPE_CHECKING:
    from code_qwen.problems import Task

FUNCTIONS = "functions"


class CodeData(TrainingData):
    builtin: ClassVar[tuple[str, ...]] = ("stdlib",)
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet")
    trees: ClassVar[bool] = True

    sources: Annotated[
        list[Annotated[CodeSource, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="code: one source or a list; a path alone is short for {path: …}"),
    ]
    filters: Filters = Filters.model_construct()
    text: Annotated[
        list[Annotated[Source, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field([], description="text, so that it is not forgotten: sources as `qwen-base pretrain` takes them"),
    ]
    text_share: Share = Field(0.0, description="of the samples")
    fim_rate: Share = Field(0.0, description="share of documents rearranged for fill-in-the-middle; the report: none")
    fim_spm_rate: Share = Field(0.5, description="of these, the share with the suffix first (SPM); the others are PSM")
    isolate_documents: Flag = Field(False, description="no token sees another document; positions restart at each")

    @model_validator(mode="after")
    def _check(self) -> CodeData:
        if self.text and not 0 < self.text_share < 1:
            raise ValueError(f"text_share={self.text_share:g}: with text it must lie between 0 and 1")
        if self.text_share and not self.text:
            raise ValueError(f"text_share={self.text_share:g}, but text names no source; text=[stdlib] for one")
        return self

    @property
    def parts(self) -> dict[str, TrainingData]:
        if not self.text:
            return {"sources": self}
        settings = {key: getattr(self, key) for key in TrainingData.model_fields}
        return {"sources": self, "text": Data(sources=self.text, **settings)}


class CodePretrainRecipe(PretrainRecipe):
    data: CodeData  # type: ignore[assignment]  # its sources are code


class FunctionData(SftData):
    builtin: ClassVar[tuple[str, ...]] = (FUNCTIONS,)


class Problems(Section):
    """The tasks that `data.sources: [functions]` generates."""

    count: Positive = Field(40_000, description="training tasks, all different")
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], min_length=1)
    forms: list[Literal["instruction", "docstring"]] = Field(["instruction", "docstring"], min_length=1)


class CodeEvaluation(EvaluationSettings):
    """How a model is asked for a program, how its answers are drawn, and for how long they may run."""

    k: list[Positive] = Field([1, 10, 100], description="pass@k for each of these that is no more than samples")
    top_p: Number = Field(0.95, gt=0.0, le=1.0, description="draw from the likeliest tokens that make up this share")
    timeout: Number = Field(10.0, gt=0.0, le=86_400.0, description="seconds that one program with its tests may take")
    workers: Positive | None = Field(None, description="programs that run side by side; default: one for each core")


def training_tasks(recipe: CodeSftRecipe) -> Iterator[Task]:
    from code_qwen import problems

    settings = recipe.problems
    return problems.training(recipe.seed, settings.count, tuple(settings.languages), tuple(settings.forms))


class CodeSftRecipe(SftRecipe):
    data: FunctionData
    problems: Problems = Problems.model_construct()
    evaluation: CodeEvaluation
    tasks: TaskNames = Field(
        [], description="what `evaluate` asks, and `sft` before and after training: a,b or name:FILE"
    )
