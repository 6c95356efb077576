"""`qwen-chat sft`: teaches a model to converse; evaluates checkable answers before and after."""

from __future__ import annotations

from qwen_chat.kinds import SFT
from qwen_chat.recipe import DIALOGUES, ChatSftRecipe, training_dialogues
from qwen_shared.cli import Invocation
from qwen_shared.cli.sft_verb import generated_source, plan_sft, run_sft
from qwen_shared.data.documents import SourceReader
from qwen_shared.training.plan import RunPlan


def main(invocation: Invocation) -> None:
    plan(invocation)  # fail on tokenizer or layout before heavy imports
    run_sft(invocation, SFT.name, readers(invocation.recipe), "qwen_chat.examination:Examination")


def plan(invocation: Invocation) -> RunPlan:
    from qwen_chat.evaluation.run import check_tasks

    return plan_sft(invocation, lambda recipe: check_tasks(recipe.tasks))


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    assert invocation.parent is not None
    show.show_batch(invocation.recipe, invocation.parent.tokenizer, readers(invocation.recipe), count)


def readers(recipe: ChatSftRecipe) -> dict[str, SourceReader]:
    """The embedded dialogues as conversations."""
    from qwen_chat import dialogues

    return generated_source(DIALOGUES, dialogues, lambda: training_dialogues(recipe), recipe.dialogues, recipe.seed)
