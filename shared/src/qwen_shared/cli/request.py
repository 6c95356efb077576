"""From a verb's flags to an `Invocation`: every check that needs no torch."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_shared.cli.result_names import check_result_names
from qwen_shared.cli.verb import Invocation, Verb
from qwen_shared.errors import UserError
from qwen_shared.launch.launchers import Launch
from qwen_shared.launched import is_worker
from qwen_shared.recipe import PretrainRecipe, RunRecipe, check_layout, check_tokenizer, load_recipe, recipe_name
from qwen_shared.recipe.layout import ONE_PROCESS
from qwen_shared.run import inspect_run
from qwen_shared.run.manifest import MANIFEST, RECIPE, Manifest, read_recipe

if TYPE_CHECKING:
    from qwen_shared.job.parent import DefaultParent, ParentModel

# Stand-in for a missing parent model; divisible by every layout.
_SOME_MODEL = "model={num_layers: 96, hidden_size: 12288, num_attention_heads: 96, ffn_hidden_size: 49152}"


@dataclass(frozen=True)
class Request:
    """A verb's parsed flags, not yet checked."""

    command: str
    verb: Verb
    recipes: Path
    config: str
    args: argparse.Namespace
    launch: Launch

    def check(self) -> Invocation:
        """Raises UserError."""
        args, layout, parent = self.args, ONE_PROCESS, None
        if self.verb.reads_run:
            run_dir, recipe = self._existing_run()
        else:
            run_dir, recipe, parent = self._own_run()
            layout = check_layout(recipe, _world_size(self.launch))
        check_tokenizer(parent.tokenizer if parent else recipe.tokenizer)
        self._check_data(recipe)
        # Plans need `nodes`: processes of a host share its memory.
        options = argparse.Namespace(**vars(args) | {"nodes": self.launch.nodes})
        kind = self.verb.kind
        return Invocation(recipe, layout, run_dir, self.command, kind, parent, args.overrides, args.from_model, options)

    def check_recipe(self) -> None:
        """The same if the parent model is still missing. An existing run must have this recipe."""
        run_dir = self.args.run_dir
        if run_dir and _has_model(run_dir):
            _, recipe, _ = self._own_run()
            inspect_run(run_dir, recipe)
        else:
            recipe = self._load_recipe([_SOME_MODEL] if self.verb.default_parent else [])
        check_layout(recipe, _world_size(self.launch))
        check_result_names(self.verb, recipe, self.args.result)
        self._check_data(recipe)

    def _load_recipe(self, first: list[str] | None = None, defaults: tuple[str, ...] = ()) -> RunRecipe:
        overrides = [*(first or []), *self.args.overrides]
        return load_recipe(self.verb.schema, self.config, overrides, self.recipes, defaults)

    def _check_data(self, recipe: RunRecipe) -> None:
        if self.verb.reads_data:
            from qwen_shared.data.check import check_sources  # imports numpy, which --help must not

            check_sources(recipe.data)

    def _default_run_dir(self) -> Path:
        name = recipe_name(self.verb.schema, self.config, self.args.overrides, self.recipes)
        return Path("runs") / self.verb.kind / name

    def _own_run(self) -> tuple[Path, RunRecipe, ParentModel | None]:
        """The run to make or resume, its recipe, and its parent model."""
        run_dir = self.args.run_dir or self._default_run_dir()
        if (kind := _kind(run_dir)) not in (None, self.verb.kind):
            raise UserError(f"{run_dir} is a run of another kind, {kind}: choose another --run-dir")
        if self.verb.takes_parent:
            from qwen_shared.job.parent import find_parent, recipe_from  # imports numpy, which --help must not

            parent = find_parent(run_dir, self.args.from_model, self._default_parent())
            if parent is not None:
                overrides = self.args.overrides
                recipe = recipe_from(parent, self.verb.schema, self.config, overrides, self.recipes, run_dir)
                return run_dir, recipe, parent
        recipe = self._load_recipe()
        if isinstance(recipe, PretrainRecipe) and recipe.init.optimizer == "carry":
            raise UserError("init.optimizer=carry: random weights have no optimizer to carry over; --from names a run")
        return run_dir, recipe, None

    def _default_parent(self) -> DefaultParent | None:
        if self.verb.default_parent is None:
            return None
        from qwen_shared.job.parent import DefaultParent

        kind, command = self.verb.default_parent
        name = Path(self.config).name.removesuffix(".yaml").removesuffix(".yml")  # not stem: 1.8b is a name
        return DefaultParent(Path("runs") / kind / name, f"{command} --config {name}")

    def _existing_run(self) -> tuple[Path, RunRecipe]:
        """The run to read, with its own recipe plus overrides.

        `--from RUN` and `RUN@STEP` name the run as `--run-dir` does. A Hugging Face model takes the recipe of --config,
        the default one without `verb.own_keys`.
        """
        args, run_dir = self.args, self.args.run_dir
        if args.from_model:
            from qwen_shared.job.parent import split_step

            named = Path(split_step(args.from_model)[0])
            if (named / RECIPE).is_file():
                if run_dir and run_dir.resolve() != named.resolve():
                    raise UserError(f"--from {args.from_model} and --run-dir {run_dir} are two runs: give one of them")
                run_dir = named
                if _kind(named) not in (None, self.verb.kind):  # its recipe has another schema
                    return run_dir, self._load_recipe()
            elif run_dir and (run_dir / RECIPE).is_file():
                raise UserError(f"--from {args.from_model} is not a run, but --run-dir {run_dir} is: give one of them")
            elif run_dir is None:
                recipe = self._load_recipe(defaults=() if args.config else self.verb.own_keys)
                return Path("runs") / self.verb.kind / recipe.name, recipe
        run_dir = run_dir or self._default_run_dir()
        if (run_dir / RECIPE).is_file():
            if (kind := _kind(run_dir)) not in (None, self.verb.kind):
                raise UserError(f"{run_dir} is a run of another kind, {kind}: --from {run_dir} takes its model")
            return run_dir, read_recipe(run_dir, self.verb.schema, args.overrides)
        if not args.from_model and not args.plan:
            maker = f"{self.command.rpartition(' ')[0]} {self.verb.maker}"
            raise UserError(f"{run_dir}: no run there; `{maker}` makes one, --run-dir names another")
        return run_dir, self._load_recipe()


def _kind(run_dir: Path) -> str | None:
    return Manifest.read(run_dir).kind if (run_dir / MANIFEST).is_file() else None


def _has_model(run_dir: Path) -> bool:
    """Whether the run no longer needs its parent model."""
    if not (run_dir / MANIFEST).is_file() or not (run_dir / RECIPE).is_file():
        return False
    return Manifest.read(run_dir).status == "finished" or any((run_dir / "checkpoints").glob("step-*"))


def _world_size(launch: Launch) -> int:
    if not is_worker():
        return launch.world_size
    world_size = int(os.environ["WORLD_SIZE"])
    if launch.world_size not in (1, world_size):
        raise UserError(
            f"--nproc {launch.nproc}, but this is already one of {world_size} processes (WORLD_SIZE is set): "
            "leave --nproc out under torchrun"
        )
    return world_size
