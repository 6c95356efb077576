"""What the results of a run will be called, known before it begins; a family's goals are on them.

A verb says the names that its runs leave in their manifests; in them `*` is what only the data tell.
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
    """Of a pretraining with held-out text, `val/…`; `more` are its other corpora, `val/NAME/…`."""
    places = ["val", *(f"val/{name}" for name in more)]
    return [
        *TRAINED,
        *(f"{place}/{name}" for place in places for name in (*_TEXT, *_TEXT_FACTS)),
        *(f"before/{place}/{name}" for place in places for name in _TEXT),
    ]


def tuned(recipe: Any, metrics: Iterable[str], by_group: Iterable[str], nearest: Iterable[str] = ()) -> list[str]:
    """Of a fine-tuning on conversations whose recipe has `tasks`: `metrics` of each, `by_group` those of its parts, and
    `nearest` those of recalling the nearest training example."""
    held_out = ["val/loss", "val/perplexity"]
    for task in map(_task_name, recipe.tasks):
        held_out += [f"eval/{task}/{name}" for name in metrics] + [f"eval/{task}/*/{name}" for name in by_group]
    recalled = [f"nearest/{_task_name(task)}/{name}" for task in recipe.tasks for name in nearest]
    return [*TRAINED, "data/real_share", *held_out, *(f"before/{name}" for name in held_out), *recalled]


def _task_name(text: str) -> str:
    """`NAME`, `NAME:PATH`, or a file."""
    name = text.partition(":")[0]
    return "*" if "/" in name or "." in name else glob.escape(name)


def check_figures(verb: Verb, recipe: Any, names: Iterable[str]) -> None:
    """Raises UserError for a name that no result of a run with this recipe will have."""
    known = verb.figures(recipe) if verb.figures else ["*"]
    for name in names:
        if not any(fnmatchcase(name, pattern) for pattern in known):
            hint = nearest(name, known)
            raise UserError(f"no result of the run will be called '{name}'{f'; nearest: {hint}' if hint else ''}")
