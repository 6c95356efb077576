"""`qwen-chat sft`: teaches a model to converse; evaluates checkable answers before and after."""

from __future__ import annotations

from qwen_chat.recipe import DIALOGUES, ChatSftRecipe, training_dialogues
from qwen_shared.cli import Invocation, sft_verb
from qwen_shared.cli.sft_verb import generated_source, run_sft
from qwen_shared.data.documents import SourceReader


def main(invocation: Invocation[ChatSftRecipe]) -> None:
    run_sft(invocation, readers(invocation.recipe))


def show_batch(invocation: Invocation[ChatSftRecipe], count: int) -> None:
    sft_verb.show_batch(invocation, readers(invocation.recipe), count)


def readers(recipe: ChatSftRecipe) -> dict[str, SourceReader]:
    """The embedded dialogues as conversations."""
    from qwen_chat import dialogues

    return generated_source(DIALOGUES, dialogues, lambda: training_dialogues(recipe), recipe.dialogues, recipe.seed)
