"""The recipe of supervised fine-tuning. Its `model` and `tokenizer` are those of the model it starts from."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qwen_shared.recipe.schema import (
    Model,
    Number,
    Recipe,
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
    weight: Number | None = Field(None, gt=0.0, description="default: by samples, so every one is seen equally often")
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


class SftRecipe(Recipe):
    model: Model | None = Field(None, description="the start's, as its tokenizer is; never to be given")
    data: SftData
