"""`code-qwen sft`: a model learns to write functions; how many pass their tests is measured before and after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from code_qwen.evaluation.tasks import find_tasks
from code_qwen.recipe import FUNCTIONS, CodeSftRecipe, training_tasks
from qwen_shared.data.documents import BuiltIn
from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation
from qwen_shared.tracking import say
from qwen_shared.training.plan import plan_run

KIND = "code-sft"


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.sft.job import fine_tune

    from code_qwen.examination import Examination

    i, recipe = invocation, invocation.recipe
    evaluate = Examination(recipe, i.run_dir) if recipe.tasks else None
    fine_tune(recipe, i.layout, i.run_dir, i.command, KIND, i.origin, builtin(recipe), evaluate)


def plan(invocation: Invocation) -> str:
    i = invocation
    if i.recipe.tasks:
        find_tasks(i.recipe.tasks)
        if i.recipe.export == "none":
            raise UserError("export=none leaves no model to ask the tasks: give tasks=[] too, or export=final")
    return plan_run(i.command, i.recipe, i.layout, i.run_dir, i.origin)


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    show.show_batch(invocation.recipe, invocation.origin.tokenizer, builtin(invocation.recipe), count)


def builtin(recipe: CodeSftRecipe) -> dict[str, BuiltIn]:
    """The functions made here, as conversations."""
    from code_qwen import problems

    def conversations() -> Iterator[tuple[list[dict[str, str]], bool]]:
        for task in training_tasks(recipe):
            yield problems.messages(task), False
        for name in problems.HELD_OUT:
            for task in problems.held_out(name, languages=tuple(recipe.problems.languages)):
                yield problems.messages(task), True

    # The code that makes the tasks decides them as much as its settings do.
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(problems.__file__).parent.glob("*.py"))))
    settings = recipe.problems.model_dump(mode="json") | {"seed": recipe.seed, "code": code.hexdigest()}
    return {FUNCTIONS: BuiltIn(conversations, json.dumps(settings, sort_keys=True))}
