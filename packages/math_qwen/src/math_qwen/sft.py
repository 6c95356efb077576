"""`math-qwen sft`: a model learns to answer; its accuracy is measured before and after."""

from __future__ import annotations

from math_qwen.evaluation.tasks import find_tasks
from math_qwen.kinds import SFT
from math_qwen.recipe import PROBLEMS, MathRecipe, training_problems
from qwen_shared.cli import Invocation
from qwen_shared.cli.sft_verb import generated_source, plan_sft, run_sft
from qwen_shared.data.documents import SourceReader


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    run_sft(invocation, SFT.name, readers(invocation.recipe), "math_qwen.examination:Examination")


def plan(invocation: Invocation) -> str:
    return plan_sft(invocation, lambda recipe: find_tasks(recipe.tasks, recipe.evaluation.shots))


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    show.show_batch(invocation.recipe, invocation.parent.tokenizer, readers(invocation.recipe), count)


def readers(recipe: MathRecipe) -> dict[str, SourceReader]:
    """The problems made here, as conversations."""
    from math_qwen import problems

    return generated_source(PROBLEMS, problems, lambda: training_problems(recipe), recipe.problems, recipe.seed)
