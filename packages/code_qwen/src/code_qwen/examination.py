"""What `sft` asks the model it starts from and the one it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from code_qwen import problems
from code_qwen.evaluation import command, run
from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks
from code_qwen.sandbox import Submission, isolation, run_tests_many
from qwen_shared.evaluation import examination


class Examination(examination.Examination):
    recipe: CodeSftRecipe

    def ask(self, generate, tokenizer, style, output: Path, weights: str) -> dict[str, run.Result]:
        recipe = self.recipe
        command.say_what_is_not_held(isolation())
        return run.evaluate(
            generate,
            tokenizer,
            recipe.tasks,
            recipe.evaluation,
            style,
            recipe.data.system,
            output,
            weights,
            recipe.problems.languages,
        )

    def named_figures(self, results: dict[str, run.Result]) -> dict[str, float]:
        return run.named_figures(results)

    def table(self, results: dict[str, run.Result], title: str) -> Any:
        return command.table(results, title)

    def answer_rows(self, result: run.Result) -> list[dict[str, Any]]:
        return command.answer_rows(result)

    def nearest(self) -> dict[str, float]:
        figures = {}
        if all(source.path == FUNCTIONS for source in self.recipe.data.sources):
            known = list(training_tasks(self.recipe))
            settings, languages = self.recipe.evaluation, self.recipe.problems.languages
            for name in [name for name in self.recipe.tasks if name in problems.HELD_OUT]:
                asked = problems.held_out(name, languages=languages)[: settings.limit or None]
                answers = problems.nearest_training_solutions(asked, known)
                jobs = [
                    Submission("", answer, task.test, task.entry_point, settings.timeout)
                    for task, answer in zip(asked, answers, strict=True)
                ]
                judged = run_tests_many(jobs, settings.workers)
                figures[f"nearest/{name}/pass@1"] = sum(judgement.passed for judgement in judged) / len(judged)
        return figures
