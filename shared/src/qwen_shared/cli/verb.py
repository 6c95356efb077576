"""What a command can do, and what it was asked to do."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qwen_shared.job.spec import RunSpec
from qwen_shared.recipe import PretrainRecipe, RunRecipe


@dataclass(frozen=True)
class Tool:
    """A verb without a recipe. `target`, "module:function", takes the flags and returns the exit code."""

    name: str
    help: str
    target: str
    options: Callable[[argparse.ArgumentParser], Any]


@dataclass(frozen=True)
class Verb:
    """A verb with a recipe.

    `target`, `plan` and `show_batch` are "module:function", imported when they run, and take an `Invocation`. `plan`
    returns a text, or an object with `as_dict()` for --json.
    """

    name: str
    help: str
    target: str
    kind: str  # runs live in runs/<kind>/<name>
    schema: type[RunRecipe] = PretrainRecipe
    reads_run: bool = False  # instead of making or resuming one
    maker: str = "pretrain"  # the verb that makes the runs it reads
    reads_data: bool = True  # data sources must exist
    takes_parent: bool = False  # a new run may begin --from another model
    default_parent: tuple[str, str] | None = None  # the kind of run, and the command that makes it
    recipes: str = ""  # subfolder of the command's recipes
    plan: str | None = None
    show_batch: str | None = None  # also takes the number of samples
    options: Callable[[argparse.ArgumentParser], Any] | None = None  # adds flags of this verb alone
    results: Callable[[Any], list[str]] | None = None  # their names, see `result_names`
    # Prefixes of keys whose values in the default recipe do not hold for a model from elsewhere.
    own_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invocation[R: RunRecipe](RunSpec[R]):
    """A verb's checked request. A verb that reads a run is one process."""

    overrides: list[str] = field(default_factory=list)
    from_model: str | None = None  # --from, as typed
    options: argparse.Namespace = field(default_factory=argparse.Namespace)  # all flags, `nodes` as a number
