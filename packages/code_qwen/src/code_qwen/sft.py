"""`code-qwen sft`: a model learns to write functions; how many pass their tests is measured before and after."""

from __future__ import annotations

from code_qwen.evaluation.command import require_isolation
from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks
from qwen_shared.cli import Invocation, sft_verb
from qwen_shared.cli.sft_verb import generated_source, run_sft
from qwen_shared.data.documents import SourceReader


def main(invocation: Invocation[CodeSftRecipe]) -> None:
    require_isolation(invocation)
    run_sft(invocation, readers(invocation.recipe), nearest)


def show_batch(invocation: Invocation[CodeSftRecipe], count: int) -> None:
    sft_verb.show_batch(invocation, readers(invocation.recipe), count)


def readers(recipe: CodeSftRecipe) -> dict[str, SourceReader]:
    """The functions made here, as conversations."""
    from code_qwen import problems

    return generated_source(FUNCTIONS, problems, lambda: training_tasks(recipe), recipe.problems, recipe.seed)


def nearest(recipe: CodeSftRecipe) -> dict[str, float]:
    """The baseline of the nearest training task: `nearest/<task>/pass@1` of embedded tasks if all training data is
    embedded.
    """
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
