"""What a command can do, and what it was asked to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.recipe import PretrainRecipe, RunRecipe
from qwen_shared.recipe.layout import Layout

if TYPE_CHECKING:
    from qwen_shared.job.parent import ParentModel


@dataclass(frozen=True)
class Tool:
    """One thing a command does without a recipe. `target` is "module:function"; it takes the parsed flags and returns
    the exit code."""

    name: str
    help: str
    target: str
    options: Callable[[argparse.ArgumentParser], Any]


@dataclass(frozen=True)
class Verb:
    """One thing a command does with a recipe.

    `target` and `plan` are "module:function", imported only when they run. `target` takes an `Invocation`; `plan`
    takes one too and returns what to print: a text, or an object with `figures()` for --json.
    """

    name: str
    help: str
    target: str
    kind: str  # runs live in runs/<kind>/<name>
    schema: type[RunRecipe] = PretrainRecipe
    reads_run: bool = False  # works on an existing run and takes its recipe; otherwise it makes or resumes one
    maker: str = "pretrain"  # for a verb that reads a run: the verb that makes one
    reads_data: bool = True  # the recipe's data sources must be there
    takes_parent: bool = False  # a new run may begin --from another model
    default_parent: tuple[str, str] | None = (
        None  # without --from it begins from this kind of run; the command that makes it
    )
    recipes: str = ""  # the folder among the command's recipes where this verb's are
    plan: str | None = None
    show_batch: str | None = None  # takes an `Invocation` and a number of samples, and prints what training would see
    options: Callable[[argparse.ArgumentParser], Any] | None = None  # adds flags of this verb alone
    # Names of the results that a finished run leaves, by its recipe; see `figures`.
    figures: Callable[[Any], list[str]] | None = None
    # Beginnings of keys that the default recipe has for its own runs: a model from elsewhere has the schema's defaults.
    own_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invocation[R: RunRecipe]:
    """What the user asked for, checked."""

    recipe: R
    overrides: list[str]
    run_dir: Path
    from_model: str | None  # --from, as typed
    layout: Layout | None  # None for a verb that reads a run: it is one process
    command: str  # "qwen-base pretrain", for messages
    parent: ParentModel | None = None  # what --from brings to a new run
    options: argparse.Namespace = field(default_factory=argparse.Namespace)  # the verb's own flags; `nodes`
