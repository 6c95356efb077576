"""The chat recipes: supervised fine-tuning on dialogues, and the prompts of PPO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.recipe import SftRecipe
from qwen_shared.recipe.schema import Positive, Section, TrainingData, source_from_text, sources_from_text
from qwen_shared.recipe.sft_schema import ConversationSource, SftData

if TYPE_CHECKING:
    from qwen_chat.dialogues import Dialogue

DIALOGUES = "dialogues"  # the name of the source


class ChatData(SftData):
    """`dialogues` are made here; everything else is read."""

    builtin: ClassVar[tuple[str, ...]] = (DIALOGUES,)


class PromptData(TrainingData):
    """Rows with a `prompt` (a text or messages), or conversations in any form, whose last answer is left out. Every
    other key of a row is a column for reward functions."""

    builtin: ClassVar[tuple[str, ...]] = (DIALOGUES,)
    suffixes: ClassVar[tuple[str, ...]] = SftData.suffixes
    isolate_documents: ClassVar[bool] = True

    sources: Annotated[
        list[Annotated[ConversationSource, BeforeValidator(source_from_text)]],
        BeforeValidator(sources_from_text),
        Field(min_length=1, description="one source or a list; a path alone is short for {path: …}"),
    ]
    system: str | None = Field(None, description="for prompts without a system turn; default: the template's")


class Dialogues(Section):
    """What `data.sources: [dialogues]` makes: short dialogues with checkable answers in two styles, half and half."""

    count: Positive = Field(50_000, description="training dialogues, all different")
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], min_length=1)


def training_dialogues(recipe: ChatSftRecipe) -> Iterator[Dialogue]:
    """What the source `dialogues` trains on."""
    from qwen_chat import dialogues

    return dialogues.training(recipe.seed, recipe.dialogues.count, tuple(recipe.dialogues.languages))


def _tasks_from_text(value: Any) -> Any:
    return [task.strip() for task in value.split(",") if task.strip()] if isinstance(value, str) else value


class ChatSftRecipe(SftRecipe):
    data: ChatData
    dialogues: Dialogues = Dialogues.model_construct()
    evaluation: Evaluation
    tasks: Annotated[list[str], BeforeValidator(_tasks_from_text)] = Field(
        [], description="what is asked before and after training: dialogues"
    )
