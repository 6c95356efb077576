"""The verb `sft` of every package: tasks before and after training, and generated data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from qwen_shared.cli.verb import Invocation
from qwen_shared.data.conversations import generated_conversations
from qwen_shared.data.documents import SourceReader
from qwen_shared.errors import UserError
from qwen_shared.evaluation.find import find_tasks
from qwen_shared.log import say
from qwen_shared.training.plan import RunPlan, plan_run


class GeneratorSettings(Protocol):
    @property
    def languages(self) -> Sequence[str]: ...

    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def plan_sft(invocation: Invocation[Any]) -> RunPlan:
    """Raises UserError also if the recipe's tasks cannot be asked."""
    i = invocation
    if i.recipe.tasks:
        find_tasks(i.recipe.tasks, i.recipe.evaluation)
        if i.recipe.export == "none":
            raise UserError("export=none leaves no model to ask the tasks: give tasks=[] too, or export=final")
    return plan_run(i, i.options)


def run_sft(
    invocation: Invocation[Any],
    readers: Mapping[str, SourceReader],
    nearest: Callable[[Any], dict[str, float]] | None = None,
) -> None:
    """`nearest` takes the recipe; see `evaluation.before_after`."""
    plan_sft(invocation)  # what the tokenizer, the layout and the tasks make impossible shows before anything heavy
    say("loading torch and Megatron")  # takes ten seconds

    from qwen_shared.backend.quick_import import quick_import

    with quick_import():
        from qwen_shared.evaluation.before_after import BeforeAfter
        from qwen_shared.sft.job import fine_tune

    i = invocation
    evaluate = BeforeAfter(i.recipe, i.run_dir, nearest) if i.recipe.tasks else None
    fine_tune(i, readers, evaluate)


def show_batch(invocation: Invocation[Any], readers: Mapping[str, SourceReader], count: int) -> None:
    """Prints `count` samples as training would see them."""
    from qwen_shared.sft import show

    assert invocation.parent is not None
    show.show_batch(invocation.recipe, invocation.parent.tokenizer, readers, count)


def generated_source(
    name: str, generator: ModuleType, training: Callable[[], Iterable[Any]], settings: GeneratorSettings, seed: int
) -> dict[str, SourceReader]:
    """The source `name`: `training` to train on, and what `generator` holds out: a module with `messages(one)`,
    `held_out(name, languages=…)` and the names HELD_OUT.
    """

    def conversations() -> Iterator[tuple[list[dict[str, str]], bool]]:
        for one in training():
            yield generator.messages(one), False
        for held_out in generator.HELD_OUT:
            for one in generator.held_out(held_out, languages=tuple(settings.languages)):
                yield generator.messages(one), True

    # The generator's code is part of the cache key, as the settings are.
    assert generator.__file__ is not None
    code = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(generator.__file__).parent.glob("*.py"))))
    decisive = settings.model_dump(mode="json") | {"seed": seed, "code": code.hexdigest()}
    return {name: generated_conversations(name, conversations, json.dumps(decisive, sort_keys=True))}
