"""The recipe of supervised fine-tuning. Its `model` and `tokenizer` are those of the model it starts from."""

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
    """Where conversations come from: a file or a directory (.jsonl, .jsonl.gz, .jsonl.zst, .json, .parquet), or
    `hf:NAME_OR_DIRECTORY`. Each row tells its form by its keys: `messages`, ShareGPT's `conversations`, Alpaca's
    `instruction`, or `prompt` and `completion`."""

    path: str = Field(min_length=1, description="a file, a directory, hf:NAME_OR_DIRECTORY, or data made here")
    weight: Number | None = Field(
        None, gt=0.0, le=1e12, description="default: by samples, so every one is seen equally often"
    )
    config: str | None = Field(None, description="hf: only; the dataset's configuration name")
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
        "assistant", description="in the loss: assistants' words and their end; or Qwen's own choice (section 5)"
    )
    system: str | None = Field(None, description="for conversations without a system turn; default: the template's")
    max_dropped_share: Share = Field(
        0.05, description="refuse to train where more conversations are too long, or have nothing to learn from"
    )


class Stage(Section):
    """A part of the run with its own data and rate; weights and the optimizer's state go on from the part before."""

    name: str = Field(min_length=1, description="for the console")
    steps: Positive
    sources: list[str] | None = Field(None, min_length=1, description="paths out of data.sources; default: all of them")
    lr: Number | None = Field(None, gt=0.0, description="its schedule's peak; default: optimizer.lr")
    schedule: Schedule | None = Field(None, description="over its own steps; default: the recipe's")


class SftRecipe(Recipe):
    if not TYPE_CHECKING:  # it is None only until the start is known
        model: Model | None = Field(None, description="the start's, as its tokenizer is; never to be given")
    data: SftData
    stages: list[Stage] = Field([], description="one after another; their steps add up to training.steps")

    @model_validator(mode="after")
    def _check_stages(self) -> SftRecipe:
        if not self.stages:
            return self
        steps, paths = sum(stage.steps for stage in self.stages), [source.path for source in self.data.sources]
        if steps != self.training.steps:
            raise ValueError(f"training.steps={self.training.steps}, but the stages have {steps} steps: give that")
        for i, stage in enumerate(self.stages):
            for path in stage.sources or []:
                if path not in paths:
                    raise ValueError(f"stages.{i}.sources: {path} is not in data.sources ({', '.join(paths)})")
            try:
                (stage.schedule or self.schedule).check(stage.steps, f"its {stage.steps} steps")
            except ValueError as error:
                hint = "" if stage.schedule else "; give the stage a schedule of its own"
                raise ValueError(f"stages.{i}: {error}{hint}") from None
        used = {path for stage in self.stages for path in stage.sources or paths}
        if unused := [path for path in paths if path not in used]:
            raise ValueError(f"data.sources: no stage uses {unused[0]}; name it in one, or leave it out")
        return self
