"""`qwen-chat sft`: a model learns to converse; how many checkable answers are right is measured before and after."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from qwen_chat.recipe import DIALOGUES, ChatSftRecipe, training_dialogues
from qwen_shared.data.documents import BuiltIn
from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation
from qwen_shared.tracking import say
from qwen_shared.training.plan import plan_run

KIND = "chat-sft"


def main(invocation: Invocation) -> None:
    plan(invocation)  # what the tokenizer and the layout make impossible shows here, before anything heavy
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.sft.job import fine_tune

    from qwen_chat.examination import Examination

    i, recipe = invocation, invocation.recipe
    evaluate = Examination(recipe, i.run_dir) if recipe.tasks else None
    fine_tune(recipe, i.layout, i.run_dir, i.command, KIND, i.origin, builtin(recipe), evaluate)


def plan(invocation: Invocation) -> str:
    i = invocation
    if i.recipe.tasks:
        from qwen_chat.evaluation.run import check_tasks

        check_tasks(i.recipe.tasks)
        if i.recipe.export == "none":
            raise UserError("export=none leaves no model to ask the tasks: give tasks=[] too, or export=final")
    return plan_run(i.command, i.recipe, i.layout, i.run_dir, i.origin)


def show_batch(invocation: Invocation, count: int) -> None:
    from qwen_shared.sft import show

    show.show_batch(invocation.recipe, invocation.origin.tokenizer, builtin(invocation.recipe), count)


def builtin(recipe: ChatSftRecipe) -> dict[str, BuiltIn]:
    """The dialogues made here, as conversations."""
    from qwen_chat import dialogues

    def conversations() -> Iterator[tuple[list[dict[str, str]], bool]]:
        for dialogue in training_dialogues(recipe):
            yield dialogues.messages(dialogue), False
        for name in dialogues.HELD_OUT:
            for dialogue in dialogues.held_out(name, languages=tuple(recipe.dialogues.languages)):
                yield dialogues.messages(dialogue), True

    # The code that makes the dialogues decides them as much as its settings do.
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(dialogues.__file__).parent.glob("*.py"))))
    settings = recipe.dialogues.model_dump(mode="json") | {"seed": recipe.seed, "code": code.hexdigest()}
    return {DIALOGUES: BuiltIn(conversations, json.dumps(settings, sort_keys=True))}
