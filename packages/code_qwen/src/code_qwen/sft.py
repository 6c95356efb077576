"""`code-qwen sft`: a model learns to write functions; how many pass their tests is measured before and after."""

from __future__ import annotations

from code_qwen.evaluation.tasks import find_tasks
from code_qwen.kinds import SFT
from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks
from qwen_shared.cli import Invocation
from qwen_shared.cli.sft_verb import generated_source, plan_sft, run_sft
from qwen_shared.data.documents import SourceReader


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    if invocation.options.require_isolation and invocation.recipe.tasks:
        from code_qwen import sandbox

        sandbox.require_isolation()
    run_sft(invocation, SFT.name, readers(invocation.recipe), "code_qwen.examination:Examination")


def plan(invocation: Invocation) -> str:
    return plan_sft(invocation, lambda recipe: find_tasks(recipe.tasks, recipe.evaluation.shots))


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    show.show_batch(invocation.recipe, invocation.parent.tokenizer, readers(invocation.recipe), count)


def readers(recipe: CodeSftRecipe) -> dict[str, SourceReader]:
    """The functions made here, as conversations."""
    from code_qwen import problems

    return generated_source(FUNCTIONS, problems, lambda: training_tasks(recipe), recipe.problems, recipe.seed)
