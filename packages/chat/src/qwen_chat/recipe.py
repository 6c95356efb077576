"""The recipe of `qwen-chat sft`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from qwen_shared.evaluation.settings import EvaluationSettings, task_names
from qwen_shared.recipe import SftRecipe
from qwen_shared.recipe.schema import Positive, Section
from qwen_shared.recipe.sft_schema import SftData

if TYPE_CHECKING:
    from qwen_chat.dialogues import Dialogue

DIALOGUES = "dialogues"  # the name of the source


class ChatData(SftData):
    """`dialogues` are embedded; everything else is read."""

    builtin: ClassVar[tuple[str, ...]] = (DIALOGUES,)


class Dialogues(Section):
    """The source `dialogues`: short dialogues with checkable answers, half in each of two styles."""

    count: Positive = Field(50_000, description="training dialogues, all different")
    languages: list[Literal["en", "zh"]] = Field(["en", "zh"], min_length=1)


def training_dialogues(recipe: ChatSftRecipe) -> Iterator[Dialogue]:
    from qwen_chat import dialogues

    return dialogues.training(recipe.seed, recipe.dialogues.count, tuple(recipe.dialogues.languages))


def _tasks(value: Any) -> Any:
    """A file alone is short for prompts:FILE."""
    tasks = task_names(value)
    return [f"prompts:{task}" if _is_file(task) else task for task in tasks] if isinstance(tasks, list) else tasks


def _is_file(text: Any) -> bool:
    return isinstance(text, str) and ":" not in text and ("/" in text or text.endswith(SftData.suffixes))


class ChatSftRecipe(SftRecipe):
    data: ChatData
    dialogues: Dialogues = Dialogues.model_construct()
    evaluation: EvaluationSettings
    tasks: Annotated[list[str], BeforeValidator(_tasks)] = Field(
        [], description="what `evaluate` asks, and `sft` before and after training: a,b or name:FILE"
    )
