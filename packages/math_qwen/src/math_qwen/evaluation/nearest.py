"""How far answering as the nearest training problem does would get."""

from __future__ import annotations

from math_qwen.recipe import PROBLEMS, MathRecipe, training_problems


def nearest(recipe: MathRecipe) -> dict[str, float]:
    """`nearest/<task>/accuracy` of the embedded tasks, if all training data is embedded too."""
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
