"""`math-qwen sft`: a model learns to answer; its accuracy is measured before and after."""

from __future__ import annotations

from math_qwen.evaluation.nearest import nearest
from math_qwen.recipe import PROBLEMS, MathRecipe, training_problems
from qwen_shared.cli import Invocation, sft_verb
from qwen_shared.cli.sft_verb import generated_source, run_sft
from qwen_shared.data.documents import SourceReader


def main(invocation: Invocation[MathRecipe]) -> None:
    run_sft(invocation, readers(invocation.recipe), nearest)


def show_batch(invocation: Invocation[MathRecipe], count: int) -> None:
    sft_verb.show_batch(invocation, readers(invocation.recipe), count)


def readers(recipe: MathRecipe) -> dict[str, SourceReader]:
    """The problems made here, as conversations."""
    from math_qwen import problems

    return generated_source(PROBLEMS, problems, lambda: training_problems(recipe), recipe.problems, recipe.seed)
