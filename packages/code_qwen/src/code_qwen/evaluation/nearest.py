"""How far answering as the nearest training task does would get."""

from __future__ import annotations

from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks


def nearest(recipe: CodeSftRecipe) -> dict[str, float]:
    """`nearest/<task>/pass@1` of the embedded tasks, if all training data is embedded too."""
    from code_qwen import problems
    from code_qwen.sandbox import Submission, run_tests_many

    metrics = {}
    if all(source.path == FUNCTIONS for source in recipe.data.sources):
        known = list(training_tasks(recipe))
        settings, languages = recipe.evaluation, recipe.problems.languages
        for name in [name for name in recipe.tasks if name in problems.HELD_OUT]:
            asked = problems.held_out(name, languages=languages)[: settings.limit or None]
            answers = problems.nearest_training_solutions(asked, known)
            jobs = [
                Submission("", answer, task.test, task.entry_point, settings.timeout)
                for task, answer in zip(asked, answers, strict=True)
            ]
            judged = run_tests_many(jobs, settings.workers)
            metrics[f"nearest/{name}/pass@1"] = sum(judgement.passed for judgement in judged) / len(judged)
    return metrics
