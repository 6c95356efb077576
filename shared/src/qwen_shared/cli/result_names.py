"""Names of a run's results, known before it begins; a family sets goals on them.

A verb lists the names that its runs write into their manifests; `*` stands for parts that only the data decide.
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest

if TYPE_CHECKING:
    from qwen_shared.cli.verb import Verb

MEASURED = ("seconds", "peak_memory_bytes")
TRAINED = (*MEASURED, "parameters", "tokens", "train/loss", "export/max_logit_difference")
_TEXT = ("loss", "perplexity", "bits_per_byte")
_TEXT_FACTS = ("bytes", "gzip_bits_per_byte")


def pretrained(*more: str) -> list[str]:
    """Of a pretraining: held-out text is `val/…`, and `val/NAME/…` for each of the other corpora `more`."""
    places = ["val", *(f"val/{name}" for name in more)]
    return [
        *TRAINED,
        *(f"{place}/{name}" for place in places for name in (*_TEXT, *_TEXT_FACTS)),
        *(f"before/{place}/{name}" for place in places for name in _TEXT),
    ]


def tuned(recipe: Any, metrics: Iterable[str], by_group: Iterable[str], nearest: Iterable[str] = ()) -> list[str]:
    """Of a fine-tuning whose recipe has `tasks`: `metrics` of each task, `by_group` of its groups, and `nearest` of
    recalling the nearest training example."""
    held_out = ["val/loss", "val/perplexity"]
    for task in map(_task_name, recipe.tasks):
        held_out += [f"eval/{task}/{name}" for name in metrics] + [f"eval/{task}/*/{name}" for name in by_group]
    recalled = [f"nearest/{_task_name(task)}/{name}" for task in recipe.tasks for name in nearest]
    return [*TRAINED, "data/real_share", *held_out, *(f"before/{name}" for name in held_out), *recalled]


def _task_name(text: str) -> str:
    """`NAME`, `NAME:PATH`, or a file."""
    name = text.partition(":")[0]
    return "*" if "/" in name or "." in name else glob.escape(name)


def check_result_names(verb: Verb, recipe: Any, names: Iterable[str]) -> None:
    """Raises UserError if a run with this recipe will have no result of such a name."""
    known = verb.results(recipe) if verb.results else ["*"]
    for name in names:
        if not any(fnmatchcase(name, pattern) for pattern in known):
            hint = nearest(name, known)
            raise UserError(f"the run will have no result '{name}'{f'; nearest: {hint}' if hint else ''}")
