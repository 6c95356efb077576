"""One frame for every package's command: read the words, check everything cheap, then start the verb's work.

All checks run before torch is imported, so a mistake costs a second or two and one line.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from qwen_shared.cli.failure import report
from qwen_shared.cli.parser import check_words, pick_verb, read_tool, read_verb
from qwen_shared.cli.plan_flags import check_plan_flags, shown
from qwen_shared.cli.result_names import check_figures
from qwen_shared.cli.verb import Invocation, Tool, Verb
from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, Stopped, UserError
from qwen_shared.launch import launchers, local, slurm
from qwen_shared.launch.launchers import Launch
from qwen_shared.launched import LAUNCHER_PID, TIME_IS_UP, is_launched, is_worker
from qwen_shared.log import log_file
from qwen_shared.recipe import PretrainRecipe, RunRecipe, check_layout, check_tokenizer, load_recipe, recipe_name
from qwen_shared.recipe.keys import print_keys
from qwen_shared.run import inspect_run
from qwen_shared.run.manifest import MANIFEST, RECIPE, Manifest, read_recipe
from qwen_shared.terminal import escape_control_characters

if TYPE_CHECKING:
    from qwen_shared.job.parent import DefaultParent, ParentModel

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, TIME_IS_UP)
_FILE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.ENAMETOOLONG)

_interrupted = False


def run(
    prog: str,
    description: str,
    verbs: list[Verb | Tool],
    recipes: Path,
    default_config: str = "tiny",
    argv: list[str] | None = None,
) -> int:
    """Does what `argv` asks and returns the exit code (see `errors`). Tracebacks are only for what is our fault."""
    argv = sys.argv[1:] if argv is None else argv
    local.die_with_launcher()
    for number in _STOP_SIGNALS:
        signal.signal(number, _interrupt)
    # That ranks ignore it is inherited by what they start.
    if LAUNCHER_PID in os.environ:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    command = prog
    global _interrupted
    _interrupted = False
    try:
        check_words(argv)
        verb = pick_verb(prog, description, verbs, recipes, argv)
        if verb is None:
            return EXIT_FINISHED
        command = f"{prog} {verb.name}"
        if isinstance(verb, Tool):
            return _run_tool(command, verb, argv)
        return _run_verb(command, verb, recipes / verb.recipes, default_config, argv)
    except Stopped as stopped:
        _ignore_stop_signals()  # the second of a double Ctrl-C may still come, and must not change the exit code
        if os.environ.get("RANK", "0") == "0":
            print(stopped, file=sys.stderr)
        return EXIT_STOPPED
    except KeyboardInterrupt:  # before or outside a training loop, which handles signals itself
        print(f"{command}: stopped; the same command starts again", file=sys.stderr)
        return EXIT_STOPPED
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FINISHED
    except Exception as error:
        text, code = _explain(command, error)
        if text is None and not is_launched():
            raise
        return report(text or traceback.format_exc().rstrip(), code)


def _explain(command: str, error: Exception) -> tuple[str | None, int]:
    """One line for the user, None where the fault is ours; and the exit code."""
    if isinstance(error, UserError):
        return escape_control_characters(f"{command}: error: {error}"), EXIT_USER_ERROR
    if isinstance(error, FloatingPointError):
        return f"{command}: failed: {error}", EXIT_FAILED
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        return f"{command}: error: {error.filename or 'standard output, or a file'}: {error.strerror}", EXIT_USER_ERROR
    return None, EXIT_FAILED


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    # `uv run` passes Ctrl-C on although the terminal has sent it: the second must not hit the way out.
    _ignore_stop_signals()
    global _interrupted
    _interrupted = True
    raise KeyboardInterrupt


def _ignore_stop_signals() -> None:
    for number in _STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _run_tool(command: str, tool: Tool, argv: list[str]) -> int:
    args = read_tool(command, tool, argv[1:])
    with log_file(None):
        return _load(tool.target)(args)


def _run_verb(command: str, verb: Verb, recipes: Path, default_config: str, argv: list[str]) -> int:
    args = read_verb(command, verb, recipes, default_config, argv[1:])
    if args.keys:
        print_keys(verb.schema)
        return EXIT_FINISHED
    launch = Launch() if verb.reads_run else launchers.read_flags(args)
    check_plan_flags(args)
    if args.check:
        _check_recipe(verb, recipes, default_config, args, launch)
        return EXIT_FINISHED
    invocation = _check(command, verb, recipes, default_config, args, launch)
    package = verb.target.partition(".")[0]
    finished = not verb.reads_run and inspect_run(invocation.run_dir, invocation.recipe) == "finished"
    if args.plan:
        with log_file(None):
            text = shown(_load(verb.plan)(invocation), args.json)
        print(text)
        if launch.launcher == "slurm" and not args.json:
            print("\n" + slurm.batch_script(launchers.slurm_job(launch, package, argv, invocation.run_dir)), end="")
        return EXIT_FINISHED
    if args.show_batch:
        with log_file(None):
            _load(verb.show_batch)(invocation, args.show_batch)
        return EXIT_FINISHED
    if finished:
        if os.environ.get("RANK", "0") == "0":
            print(f"{invocation.run_dir} is finished; another --run-dir or name=… starts a new run")
        return EXIT_FINISHED
    if launch.starts_processes:
        return launchers.start(launch, package, argv, invocation.run_dir)
    has_run = not verb.reads_run or (invocation.run_dir / RECIPE).is_file()
    with log_file(invocation.run_dir if has_run else None):
        _load(verb.target)(invocation)
    return EXIT_FINISHED


def _check(
    command: str, verb: Verb, recipes: Path, default_config: str, args: argparse.Namespace, launch: Launch
) -> Invocation:
    """Everything that can be known to be wrong without importing torch."""
    overrides, config = args.overrides, args.config or default_config
    if verb.reads_run:
        overrides = _take_from_model(args, overrides)
    from_model = getattr(args, "from_model", None)
    layout = parent = None
    if verb.reads_run:
        run_dir, recipe = _existing_run(command, verb, recipes, args, config, overrides)
    else:
        run_dir, recipe, parent = _own_run(verb, recipes, args, config, overrides)
        layout = check_layout(recipe, _world_size(launch))
    check_tokenizer(parent.tokenizer if parent else recipe.tokenizer)
    if verb.reads_data:
        from qwen_shared.data.check import check_sources  # brings numpy, which --help needs not

        check_sources(recipe.data)
    shared_names = {"config", "run_dir", "from_model", "plan", "check", "figure", "show_batch", "keys", "overrides"}
    shared_names |= set(launchers.NAMES)
    options = argparse.Namespace(**{k: v for k, v in vars(args).items() if k not in shared_names})
    options.nodes = launch.nodes  # for --plan: a host's memory holds its own processes alone
    return Invocation(recipe, overrides, run_dir, from_model, layout, command, parent, options)


# In the place of one that is not there yet; every layout divides it.
_SOME_MODEL = "model={num_layers: 96, hidden_size: 12288, num_attention_heads: 96, ffn_hidden_size: 49152}"


def _check_recipe(verb: Verb, recipes: Path, default_config: str, args: argparse.Namespace, launch: Launch) -> None:
    """What can be known to be wrong with a run before there is the model that it begins from. One that is there
    already has all it needs, and is to have this recipe."""
    config = args.config or default_config
    if args.run_dir and _has_model(args.run_dir):
        _, recipe, _ = _own_run(verb, recipes, args, config, args.overrides)
        inspect_run(args.run_dir, recipe)
    else:
        model = [_SOME_MODEL] if verb.default_parent else []
        recipe = load_recipe(verb.schema, config, [*model, *args.overrides], recipes)
    check_layout(recipe, _world_size(launch))
    check_figures(verb, recipe, args.figure)
    if verb.reads_data:
        from qwen_shared.data.check import check_sources

        check_sources(recipe.data)


def _has_model(run_dir: Path) -> bool:
    """Whether the run there looks at its start no more."""
    if not (run_dir / MANIFEST).is_file() or not (run_dir / RECIPE).is_file():
        return False
    return Manifest.read(run_dir).status == "finished" or any((run_dir / "checkpoints").glob("step-*"))


def _own_run(
    verb: Verb, recipes: Path, args: argparse.Namespace, config: str, overrides: list[str]
) -> tuple[Path, RunRecipe, ParentModel | None]:
    """The run that a verb makes or goes on with, its recipe, and the model it begins from."""
    run_dir = args.run_dir or Path("runs") / verb.kind / recipe_name(verb.schema, config, overrides, recipes)
    if (run_dir / MANIFEST).is_file() and (kind := Manifest.read(run_dir).kind) != verb.kind:
        raise UserError(f"{run_dir} is a run of another kind, {kind}: take another --run-dir")
    parent = None
    if verb.takes_parent:
        from qwen_shared.job.parent import find_parent, recipe_from  # brings numpy, which --help needs not

        parent = find_parent(run_dir, args.from_model, _default_parent(verb, config))
    if parent is None:
        recipe = load_recipe(verb.schema, config, overrides, recipes)
        if isinstance(recipe, PretrainRecipe) and recipe.init.optimizer == "carry":
            raise UserError("init.optimizer=carry: random weights have no optimizer to carry over; --from names a run")
        return run_dir, recipe, None
    return run_dir, recipe_from(parent, verb.schema, config, overrides, recipes, run_dir), parent


def _take_from_model(args: argparse.Namespace, overrides: list[str]) -> list[str]:
    """A word that is no key=value names the model to look at, as --from does; the others are left."""
    bare = [word for word in overrides if "=" not in word]
    if len(bare) + bool(args.from_model) > 1:
        raise UserError(f"{' and '.join(([args.from_model] if args.from_model else []) + bare)}: one model at a time")
    if bare:
        args.from_model = bare[0]
    return [word for word in overrides if "=" in word]


def _default_parent(verb: Verb, config: str) -> DefaultParent | None:
    if verb.default_parent is None:
        return None
    from qwen_shared.job.parent import DefaultParent

    kind, command = verb.default_parent
    name = Path(config).name.removesuffix(".yaml").removesuffix(".yml")  # 1.8b is a name, and has no suffix
    return DefaultParent(Path("runs") / kind / name, f"{command} --config {name}")


def _existing_run(
    command: str, verb: Verb, recipes: Path, args: argparse.Namespace, config: str, overrides: list[str]
) -> tuple[Path, RunRecipe]:
    """The run that a reading verb works on, with the run's own recipe (and the overrides on top).

    `--from RUN` and `RUN@STEP` name the run as `--run-dir` does; a Hugging Face model has no run, and then the recipe
    of --config says on what data and how it is looked at. The default recipe says that without `verb.own_keys`.
    """
    run_dir = args.run_dir
    if args.from_model:
        from qwen_shared.job.parent import split_step

        named = Path(split_step(args.from_model)[0])
        if (named / RECIPE).is_file():
            if run_dir and run_dir.resolve() != named.resolve():
                raise UserError(f"--from {args.from_model} and --run-dir {run_dir} are two runs: give one of them")
            run_dir = named
            # Another job's run has a recipe of another kind; ours says how it is looked at.
            if (named / MANIFEST).is_file() and Manifest.read(named).kind != verb.kind:
                return run_dir, load_recipe(verb.schema, config, overrides, recipes)
        elif run_dir and (run_dir / RECIPE).is_file():
            raise UserError(f"--from {args.from_model} is no run, but --run-dir {run_dir} is: give one of them")
        elif run_dir is None:
            recipe = load_recipe(verb.schema, config, overrides, recipes, () if args.config else verb.own_keys)
            return Path("runs") / verb.kind / recipe.name, recipe
    if run_dir is None:
        run_dir = Path("runs") / verb.kind / recipe_name(verb.schema, config, overrides, recipes)
    if (run_dir / RECIPE).is_file():
        if (run_dir / MANIFEST).is_file() and (kind := Manifest.read(run_dir).kind) != verb.kind:
            raise UserError(f"{run_dir} is a run of another kind, {kind}: --from {run_dir} takes its model")
        return run_dir, read_recipe(run_dir, verb.schema, overrides)
    if not args.from_model and not args.plan:
        maker = command.rpartition(" ")[0]
        raise UserError(f"{run_dir}: no run there; `{maker} {verb.maker}` makes one, --run-dir names another")
    return run_dir, load_recipe(verb.schema, config, overrides, recipes)


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


def _load(target: str) -> Callable[..., Any]:
    module, _, function = target.partition(":")
    loaded = getattr(importlib.import_module(module), function)
    if _interrupted:  # the import swallowed it, as Python does in a weak reference's callback
        raise KeyboardInterrupt
    return loaded
