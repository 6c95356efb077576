"""`code-qwen sft`: a model learns to write functions; how many pass their tests is measured before and after."""

from __future__ import annotations

from code_qwen.evaluation.command import require_isolation
from code_qwen.evaluation.nearest import nearest
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
