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
    """A verb without a recipe. `target` is "module:function"; it takes the parsed flags and returns the exit code."""

    name: str
    help: str
    target: str
    options: Callable[[argparse.ArgumentParser], Any]


@dataclass(frozen=True)
class Verb:
    """A verb with a recipe.

    `target`, `plan` and `show_batch` are "module:function", imported only when they run, and take an `Invocation`.
    `plan` returns a text, or an object with `as_dict()` for --json.
    """

    name: str
    help: str
    target: str
    kind: str  # runs live in runs/<kind>/<name>
    schema: type[RunRecipe] = PretrainRecipe
    reads_run: bool = False  # works on an existing run and its recipe; otherwise makes or resumes one
    maker: str = "pretrain"  # if it reads a run: the verb that makes one
    reads_data: bool = True  # needs the recipe's data sources
    takes_parent: bool = False  # a new run may begin --from another model
    default_parent: tuple[str, str] | None = None  # the kind of run, and the command that makes it
    recipes: str = ""  # subfolder of the command's recipes
    plan: str | None = None
    show_batch: str | None = None  # also takes the number of samples
    options: Callable[[argparse.ArgumentParser], Any] | None = None  # adds flags of this verb alone
    results: Callable[[Any], list[str]] | None = None  # names of a run's results by its recipe; see `result_names`
    # Prefixes of keys whose values in the default recipe hold for its own runs only, not for a model from elsewhere.
    own_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invocation[R: RunRecipe](RunSpec[R]):
    """A verb's checked request. A verb that reads a run is one process."""

    overrides: list[str] = field(default_factory=list)
    from_model: str | None = None  # --from, as typed
    options: argparse.Namespace = field(default_factory=argparse.Namespace)  # all flags, `nodes` as a number
