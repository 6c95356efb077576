"""The recipe of supervised fine-tuning. Its `model` and `tokenizer` are the parent model's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from qwen_shared.recipe.schema import (
    Model,
    Number,
    Positive,
    Recipe,
    Schedule,
    Section,
    Share,
    TrainingData,
    source_from_text,
    sources_from_text,
)


class ConversationSource(Section):
    """A row's keys tell its form: `messages`, ShareGPT's `conversations`, Alpaca's `instruction`, or `prompt` and
    `completion`."""

    path: str = Field(min_length=1, description="a file, a directory, hf:NAME_OR_DIRECTORY, or generated data")
    weight: Number | None = Field(
        None, gt=0.0, le=1e12, description="default: by samples, so each is seen equally often"
    )
    config: str | None = Field(None, description="hf: only; the dataset's configuration")
    split: str = Field("train", description="hf: only")


class SftData(TrainingData):
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet")
    isolate_documents: ClassVar[bool] = True

    sources: Annotated[
        list[Annotated[ConversationSource, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    mask: Literal["assistant", "qwen"] = Field(
        "assistant", description="in the loss: assistant turns with their end; or as in Qwen (section 5)"
    )
    system: str | None = Field(None, description="for conversations without a system turn; default: the template's")
    max_dropped_share: Share = Field(
        0.05, description="refuse to train if more conversations are too long or have no loss tokens"
    )


class Stage(Section):
    """A part of the run with its own data and rate; weights and optimizer state carry over."""

    name: str = Field(min_length=1, description="for the console")
    steps: Positive
    sources: list[str] | None = Field(None, min_length=1, description="paths from data.sources; default: all")
    lr: Number | None = Field(None, gt=0.0, description="the schedule's peak; default: optimizer.lr")
    schedule: Schedule | None = Field(None, description="over the stage's steps; default: the recipe's")


class SftRecipe(Recipe):
    if not TYPE_CHECKING:  # None only until the parent is known
        model: Model | None = Field(None, description="the parent's, as is the tokenizer; not to be given")
    data: SftData
    stages: list[Stage] = Field([], description="in order; their steps add up to training.steps")

    @model_validator(mode="after")
    def _check_stages(self) -> SftRecipe:
        if not self.stages:
            return self
        steps, paths = sum(stage.steps for stage in self.stages), [source.path for source in self.data.sources]
        if steps != self.training.steps:
            raise ValueError(f"training.steps={self.training.steps}, but the stages have {steps}: make them equal")
        for i, stage in enumerate(self.stages):
            for path in stage.sources or []:
                if path not in paths:
                    raise ValueError(f"stages.{i}.sources: {path} is not in data.sources ({', '.join(paths)})")
            try:
                (stage.schedule or self.schedule).check(stage.steps, f"its {stage.steps} steps")
            except ValueError as error:
                hint = "" if stage.schedule else "; give the stage its own schedule"
                raise ValueError(f"stages.{i}: {error}{hint}") from None
        used = {path for stage in self.stages for path in stage.sources or paths}
        if unused := [path for path in paths if path not in used]:
            raise ValueError(f"data.sources: no stage uses {unused[0]}; name it in one, or leave it out")
        return self
