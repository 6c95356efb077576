"""`math-qwen sft`: a model learns to answer; its accuracy is measured before and after."""

from __future__ import annotations

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


def nearest(recipe: MathRecipe) -> dict[str, float]:
    """The baseline of the nearest training problem: `nearest/<task>/accuracy` of embedded tasks if all training data is
    embedded.
    """
    from math_qwen import problems  # brings sympy

    metrics = {}
    if all(source.path == PROBLEMS for source in recipe.data.sources):
        known = list(training_problems(recipe))
        for name in [name for name in recipe.tasks if name in problems.HELD_OUT]:
            asked = problems.held_out(name, languages=tuple(recipe.problems.languages))
            asked = asked[: recipe.evaluation.limit or None]
            answers = problems.nearest_training_answers([problem.question for problem in asked], known)
            right = [answer == problem.answer for answer, problem in zip(answers, asked, strict=True)]
            metrics[f"nearest/{name}/accuracy"] = sum(right) / len(right)
    return metrics
