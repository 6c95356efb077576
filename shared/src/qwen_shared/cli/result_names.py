"""Names of the results in a run's manifest, known before it begins; a family sets goals on them.

`*` stands for parts that only the data decide.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.evaluation.find import task_named
from qwen_shared.recipe import nearest

if TYPE_CHECKING:
    from qwen_shared.cli.verb import Verb

MEASURED = ("seconds", "peak_memory_bytes")
TRAINED = (*MEASURED, "parameters", "tokens", "train/loss", "export/max_logit_difference")
_TEXT = ("loss", "perplexity", "bits_per_byte")
_TEXT_FACTS = ("bytes", "gzip_bits_per_byte")


def pretrained(*more: str) -> list[str]:
    """`more` are corpora with results `val/NAME/…`."""
    places = ["val", *(f"val/{name}" for name in more)]
    return [
        *TRAINED,
        *(f"{place}/{name}" for place in places for name in (*_TEXT, *_TEXT_FACTS)),
        *(f"before/{place}/{name}" for place in places for name in _TEXT),
    ]


def tuned(recipe: Any, nearest: bool = False) -> list[str]:
    """Of a fine-tuning whose recipe has `tasks`. `nearest`: also of repeating the nearest training example's answer."""
    held_out, recalled = ["val/loss", "val/perplexity"], []
    for text in recipe.tasks:
        task = task_named(text)
        if task is None:
            continue
        place = f"eval/{glob.escape(task.name)}"
        held_out += [f"{place}/{name}" for name in task.metric_names(recipe.evaluation)]
        held_out += [f"{place}/*/{name}" for names in task.logged_groups.values() for name in names]
        if nearest and task.embedded:
            recalled.append(f"nearest/{glob.escape(task.name)}/{task.measure}")
    return [*TRAINED, "data/real_share", *held_out, *(f"before/{name}" for name in held_out), *recalled]


def check_result_names(verb: Verb, recipe: Any, names: Iterable[str]) -> None:
    """Raises UserError if a run will have no such result."""
    known = verb.results(recipe) if verb.results else ["*"]
    for name in names:
        if not any(fnmatchcase(name, pattern) for pattern in known):
            hint = nearest(name, known)
            raise UserError(f"the run will have no result '{name}'{f'; nearest: {hint}' if hint else ''}")
