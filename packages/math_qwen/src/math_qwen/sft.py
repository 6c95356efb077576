"""`math-qwen sft`: a model learns to answer; its accuracy is measured before and after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from math_qwen.evaluation.tasks import find_tasks
from math_qwen.recipe import PROBLEMS, MathRecipe, training_problems
from qwen_shared.data.documents import BuiltIn
from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation
from qwen_shared.tracking import say
from qwen_shared.training.plan import plan_run

KIND = "math-sft"


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.sft.job import fine_tune

    from math_qwen.examination import Examination

    recipe: MathRecipe = invocation.recipe
    fine_tune(
        recipe,
        invocation.layout,
        invocation.run_dir,
        invocation.command,
        KIND,
        invocation.origin,
        builtin(recipe),
        Examination(recipe, invocation.run_dir) if recipe.tasks else None,
    )


def plan(invocation: Invocation) -> str:
    if invocation.recipe.tasks:
        find_tasks(invocation.recipe.tasks)
        if invocation.recipe.export == "none":
            raise UserError("export=none leaves no model to ask the tasks: give tasks=[] too, or export=final")
    i = invocation
    return plan_run(i.command, i.recipe, i.layout, i.run_dir, i.origin)


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    show.show_batch(invocation.recipe, invocation.origin.tokenizer, builtin(invocation.recipe), count)


def builtin(recipe: MathRecipe) -> dict[str, BuiltIn]:
    """The problems made here, as conversations."""
    from math_qwen import problems

    def conversations() -> Iterator[tuple[list[dict[str, str]], bool]]:
        for problem in training_problems(recipe):
            yield problems.messages(problem), False
        for name in problems.HELD_OUT:
            for problem in problems.held_out(name, languages=tuple(recipe.problems.languages)):
                yield problems.messages(problem), True

    # The code that makes the problems decides them as much as its settings do.
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(problems.__file__).parent.glob("*.py"))))
    settings = recipe.problems.model_dump(mode="json") | {"seed": recipe.seed, "code": code.hexdigest()}
    return {PROBLEMS: BuiltIn(conversations, json.dumps(settings, sort_keys=True))}
