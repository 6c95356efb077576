"""What `sft` asks the model it starts from and the one it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from math_qwen import problems
from math_qwen.evaluation import command, run
from math_qwen.recipe import PROBLEMS, MathRecipe, training_problems
from qwen_shared.evaluation import examination


class Examination(examination.Examination):
    recipe: MathRecipe

    def ask(self, generate, tokenizer, style, output: Path, weights: str) -> dict[str, run.Result]:
        recipe = self.recipe
        return run.evaluate(
            generate,
            tokenizer,
            recipe.tasks,
            recipe.evaluation,
            style,
            recipe.data.system,
            output,
            recipe.problems.languages,
        )

    def named_figures(self, results: dict[str, run.Result]) -> dict[str, float]:
        return run.named_figures(results)

    def table(self, results: dict[str, run.Result], title: str) -> Any:
        return command.table(results, title)

    def answer_rows(self, result: run.Result) -> list[dict[str, Any]]:
        return command.answer_rows(result)

    def nearest(self) -> dict[str, float]:
        figures, recipe = {}, self.recipe
        if all(source.path == PROBLEMS for source in recipe.data.sources):
            known = list(training_problems(recipe))
            for name in [name for name in recipe.tasks if name in problems.HELD_OUT]:
                asked = problems.held_out(name, languages=tuple(recipe.problems.languages))
                asked = asked[: recipe.evaluation.limit or None]
                answers = problems.nearest_training_answers([problem.question for problem in asked], known)
                right = [answer == problem.answer for answer, problem in zip(answers, asked, strict=True)]
                figures[f"nearest/{name}/accuracy"] = sum(right) / len(right)
        return figures
