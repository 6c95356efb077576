"""What the verb `sft` is in every package: the examination before and after training, the data that is made here."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from qwen_shared.cli.verb import Invocation
from qwen_shared.data.conversations import generated_conversations
from qwen_shared.data.documents import SourceReader
from qwen_shared.errors import UserError
from qwen_shared.log import say
from qwen_shared.recipe.schema import Section
from qwen_shared.training.plan import plan_run


def plan_sft(invocation: Invocation, check_tasks: Callable[[Any], Any]) -> str:
    """`plan_run`'s text. Raises UserError also for what cannot be asked: `check_tasks` is called with a recipe that has
    tasks."""
    i = invocation
    if i.recipe.tasks:
        check_tasks(i.recipe)
        if i.recipe.export == "none":
            raise UserError("export=none leaves no model to ask the tasks: give tasks=[] too, or export=final")
    return plan_run(i.command, i.recipe, i.layout, i.run_dir, i.parent, i.options)


def run_sft(invocation: Invocation, kind: str, readers: Mapping[str, SourceReader], examination: str) -> None:
    """The whole job. `examination` is "module:class", of `qwen_shared.evaluation.examination.Examination`'s kind, which
    is imported where the recipe has tasks."""
    say("loading torch and Megatron")  # the next ten seconds would be silent

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.sft.job import fine_tune

    i, evaluate = invocation, None
    if i.recipe.tasks:
        module, _, name = examination.partition(":")
        evaluate = getattr(importlib.import_module(module), name)(i.recipe, i.run_dir)
    fine_tune(i.recipe, i.layout, i.run_dir, i.command, kind, i.parent, readers, evaluate)


def generated_source(
    name: str, generator: ModuleType, training: Callable[[], Iterable[Any]], settings: Section, seed: int
) -> dict[str, SourceReader]:
    """The source `name`: conversations of `training` to train on, and all that `generator` holds out.

    `generator` is a package's module with `messages(one)`, `held_out(name, languages=…)` and its names HELD_OUT;
    `settings` is its section of the recipe, with `languages`.
    """

    def conversations() -> Iterator[tuple[list[dict[str, str]], bool]]:
        for one in training():
            yield generator.messages(one), False
        for held_out in generator.HELD_OUT:
            for one in generator.held_out(held_out, languages=tuple(settings.languages)):
                yield generator.messages(one), True

    # The generator's code decides the conversations as much as the settings do.
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(generator.__file__).parent.glob("*.py"))))
    decisive = settings.model_dump(mode="json") | {"seed": seed, "code": code.hexdigest()}
    return {name: generated_conversations(name, conversations, json.dumps(decisive, sort_keys=True))}
