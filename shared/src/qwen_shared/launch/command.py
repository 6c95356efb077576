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
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, Stopped, UserError
from qwen_shared.launch import launchers, local, slurm
from qwen_shared.launch.failure import LAUNCHER_PID, report
from qwen_shared.launch.launchers import Launch
from qwen_shared.launch.plan_flags import add_plan_flags, check_plan_flags, shown
from qwen_shared.recipe import (
    PretrainRecipe,
    RunRecipe,
    check_layout,
    check_tokenizer,
    load_recipe,
    nearest,
    recipe_name,
)
from qwen_shared.recipe.keys import leaf_keys, print_keys, whole_number
from qwen_shared.recipe.layout import Layout
from qwen_shared.tracking import inspect_run, log_file
from qwen_shared.tracking.manifest import MANIFEST, RECIPE, Manifest, read_recipe

if TYPE_CHECKING:
    from qwen_shared.training.start import Start, Usual


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
    takes_start: bool = False  # a new run may begin --from another model
    parent: tuple[str, str] | None = None  # without --from it begins from this kind of run; the command that makes it
    recipes: str = ""  # the folder among the command's recipes where this verb's are
    plan: str | None = None
    show_batch: str | None = None  # takes an `Invocation` and a number of samples, and prints what training would see
    options: Callable[[argparse.ArgumentParser], Any] | None = None  # adds flags of this verb alone
    # Beginnings of keys that the default recipe has for its own runs: a model from elsewhere has the schema's defaults.
    own_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invocation:
    """What the user asked for, checked."""

    recipe: RunRecipe
    overrides: list[str]
    run_dir: Path
    start: str | None  # --from, as typed
    layout: Layout | None  # None for a verb that reads a run: it is one process
    command: str  # "qwen-base pretrain", for messages
    origin: Start | None = None  # what --from brings to a new run
    options: argparse.Namespace = field(default_factory=argparse.Namespace)  # the verb's own flags


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
    # A cluster sends the last to every process of a job. A launcher makes it SIGTERM for its ranks; that they ignore
    # it is inherited by what they start.
    if LAUNCHER_PID in os.environ:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    command = prog
    global _interrupted
    _interrupted = False
    try:
        _check_words(argv)
        verb = _pick_verb(prog, description, verbs, recipes, argv)
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
        if text is None and not local.is_launched():
            raise
        return report(text or traceback.format_exc().rstrip(), code)


def _explain(command: str, error: Exception) -> tuple[str | None, int]:
    """One line for the user, None where the fault is ours; and the exit code."""
    if isinstance(error, UserError):
        return f"{command}: error: {error}", EXIT_USER_ERROR
    if isinstance(error, FloatingPointError):
        return f"{command}: failed: {error}", EXIT_FAILED
    if isinstance(error, OSError) and error.errno in _FILE_ERRORS:
        return f"{command}: error: {error.filename or 'standard output, or a file'}: {error.strerror}", EXIT_USER_ERROR
    return None, EXIT_FAILED


_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_FILE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENAMETOOLONG)


_interrupted = False


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
    parser = _Parser(prog=command, description=_sentence(tool.help), allow_abbrev=False)
    tool.options(parser)
    args = parser.parse_intermixed_args(argv[1:])
    with log_file(None):
        return _load(tool.target)(args)


def _run_verb(command: str, verb: Verb, recipes: Path, default_config: str, argv: list[str]) -> int:
    parser = _verb_parser(command, verb, recipes, default_config)
    args, unknown = parser.parse_known_intermixed_args(_without_false_number(argv[1:]))
    if unknown:
        raise UserError(_unknown_flag(unknown[0], parser, verb))
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
    overrides, config = _join_spaced(args.overrides), args.config or default_config
    if verb.reads_run:
        overrides = _take_start(args, overrides)
    start = getattr(args, "start", None)
    layout = origin = None
    if verb.reads_run:
        run_dir, recipe = _existing_run(command, verb, recipes, args, config, overrides)
    else:
        run_dir, recipe, origin = _own_run(verb, recipes, args, config, overrides)
        layout = check_layout(recipe, _world_size(launch))
    check_tokenizer(origin.tokenizer if origin else recipe.tokenizer)
    if verb.reads_data:
        from qwen_shared.data.check import check_sources  # brings numpy, which --help needs not

        check_sources(recipe.data)
    shared_names = {"config", "run_dir", "start", "plan", "check", "show_batch", "keys", "overrides", *launchers.NAMES}
    options = argparse.Namespace(**{k: v for k, v in vars(args).items() if k not in shared_names})
    return Invocation(recipe, overrides, run_dir, start, layout, command, origin, options)


# In the place of one that is not there yet; every layout divides it.
_SOME_MODEL = "model={num_layers: 96, hidden_size: 12288, num_attention_heads: 96, ffn_hidden_size: 49152}"


def _check_recipe(verb: Verb, recipes: Path, default_config: str, args: argparse.Namespace, launch: Launch) -> None:
    """What can be known to be wrong with a run before there is the model that it begins from."""
    model = [_SOME_MODEL] if verb.parent else []
    recipe = load_recipe(verb.schema, args.config or default_config, [*model, *_join_spaced(args.overrides)], recipes)
    check_layout(recipe, _world_size(launch))
    if verb.reads_data:
        from qwen_shared.data.check import check_sources

        check_sources(recipe.data)


def _own_run(
    verb: Verb, recipes: Path, args: argparse.Namespace, config: str, overrides: list[str]
) -> tuple[Path, RunRecipe, Start | None]:
    """The run that a verb makes or goes on with, its recipe, and the model it begins from."""
    run_dir = args.run_dir or Path("runs") / verb.kind / recipe_name(verb.schema, config, overrides, recipes)
    if (run_dir / MANIFEST).is_file() and (kind := Manifest.read(run_dir).kind) != verb.kind:
        raise UserError(f"{run_dir} is a run of another kind, {kind}: take another --run-dir")
    origin = None
    if verb.takes_start:
        from qwen_shared.training.start import find_start, recipe_from  # brings numpy, which --help needs not

        origin = find_start(run_dir, args.start, _usual_start(verb, config))
    if origin is None:
        recipe = load_recipe(verb.schema, config, overrides, recipes)
        if isinstance(recipe, PretrainRecipe) and recipe.init.optimizer == "carry":
            raise UserError("init.optimizer=carry: random weights have no optimizer to carry over; --from names a run")
        return run_dir, recipe, None
    return run_dir, recipe_from(origin, verb.schema, config, overrides, recipes, run_dir), origin


def _take_start(args: argparse.Namespace, overrides: list[str]) -> list[str]:
    """A word that is no key=value names the model to look at, as --from does; the others are left."""
    bare = [word for word in overrides if "=" not in word]
    if len(bare) + bool(args.start) > 1:
        raise UserError(f"{' and '.join(([args.start] if args.start else []) + bare)}: one model at a time")
    if bare:
        args.start = bare[0]
    return [word for word in overrides if "=" in word]


def _usual_start(verb: Verb, config: str) -> Usual | None:
    if verb.parent is None:
        return None
    from qwen_shared.training.start import Usual

    kind, command = verb.parent
    name = Path(config).name.removesuffix(".yaml").removesuffix(".yml")  # 1.8b is a name, and has no suffix
    return Usual(Path("runs") / kind / name, f"{command} --config {name}")


def _existing_run(
    command: str, verb: Verb, recipes: Path, args: argparse.Namespace, config: str, overrides: list[str]
) -> tuple[Path, RunRecipe]:
    """The run that a reading verb works on, with the run's own recipe (and the overrides on top).

    `--from RUN` and `RUN@STEP` name the run as `--run-dir` does; a Hugging Face model has no run, and then the recipe
    of --config says on what data and how it is looked at. The default recipe says that without `verb.own_keys`.
    """
    run_dir = args.run_dir
    if args.start:
        from qwen_shared.training.start import split_start

        named = Path(split_start(args.start)[0])
        if (named / RECIPE).is_file():
            if run_dir and run_dir.resolve() != named.resolve():
                raise UserError(f"--from {args.start} and --run-dir {run_dir} are two runs: give one of them")
            run_dir = named
            # Another job's run has a recipe of another kind; ours says how it is looked at.
            if (named / MANIFEST).is_file() and Manifest.read(named).kind != verb.kind:
                return run_dir, load_recipe(verb.schema, config, overrides, recipes)
        elif run_dir and (run_dir / RECIPE).is_file():
            raise UserError(f"--from {args.start} is no run, but --run-dir {run_dir} is: give one of them")
        elif run_dir is None:
            recipe = load_recipe(verb.schema, config, overrides, recipes, () if args.config else verb.own_keys)
            return Path("runs") / verb.kind / recipe.name, recipe
    if run_dir is None:
        run_dir = Path("runs") / verb.kind / recipe_name(verb.schema, config, overrides, recipes)
    if (run_dir / RECIPE).is_file():
        if (run_dir / MANIFEST).is_file() and (kind := Manifest.read(run_dir).kind) != verb.kind:
            raise UserError(f"{run_dir} is a run of another kind, {kind}: --from {run_dir} takes its model")
        return run_dir, read_recipe(run_dir, verb.schema, overrides)
    if not args.start and not args.plan:
        maker = command.rpartition(" ")[0]
        raise UserError(f"{run_dir}: no run there; `{maker} {verb.maker}` makes one, --run-dir names another")
    return run_dir, load_recipe(verb.schema, config, overrides, recipes)


def _world_size(launch: Launch) -> int:
    if not local.is_worker():
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


def _without_false_number(words: list[str]) -> list[str]:
    """`--show-batch key=value`: argparse would take the override for the number of samples."""
    if "--show-batch" in words[:-1] and "=" in words[(at := words.index("--show-batch")) + 1]:
        return [*words[:at], *words[at + 1 :], "--show-batch"]
    return words


def _join_spaced(words: list[str]) -> list[str]:
    """`key = value` typed with spaces becomes `key=value`."""
    joined: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "=" and joined:
            joined[-1] += "=" + next(rest, "")
        else:
            joined.append(word)
    return joined


# ---- words


class _Parser(argparse.ArgumentParser):
    """argparse whose mistakes are UserErrors: one line, exit 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].lower()}{message[1:]} (see {self.prog} --help)")


def _check_words(words: list[str]) -> None:
    """Names of files are bytes to the system; recipes and manifests, which keep them, are text."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"{word.encode('utf-8', 'surrogateescape')!r}: not UTF-8; rename the file") from None


def _pick_verb(
    prog: str, description: str, verbs: list[Verb | Tool], recipes: Path, argv: list[str]
) -> Verb | Tool | None:
    """The verb that `argv` starts with; None after --help was printed."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(len(verb.name) for verb in verbs)
        print(f"usage: {prog} VERB [--config NAME|FILE] [flags] [key=value ...]\n\n{description}\n\nverbs:")
        for verb in verbs:
            print(f"  {verb.name:<{width}}  {verb.help}")
        folders = dict.fromkeys(recipes / getattr(verb, "recipes", "") for verb in verbs if isinstance(verb, Verb))
        print(f"\nrecipes: {', '.join(dict.fromkeys(name for folder in folders for name in _recipe_names(folder)))}")
        print(f"\n'{prog} VERB --help' shows a verb's flags, '{prog} VERB --keys' every recipe key with its default.")
        return None
    for verb in verbs:
        if verb.name == argv[0]:
            return verb
    names = [verb.name for verb in verbs]
    hint = nearest(argv[0], names)
    raise UserError(f"no verb '{argv[0]}'{f'; nearest: {hint}' if hint else ''} (there are: {', '.join(names)})")


def _verb_parser(command: str, verb: Verb, recipes: Path, default_config: str) -> argparse.ArgumentParser:
    names = ", ".join(_recipe_names(recipes))
    parser = _Parser(
        prog=command,
        description=_sentence(verb.help),
        epilog=_examples(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="recipe keys, for example optimizer.lr=3e-4; see --keys"
    )
    parser.add_argument(
        "--config", metavar="NAME|FILE", help=f"recipe: {names}, or a YAML file (default: {default_config})"
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help=f"the run's directory (default: runs/{verb.kind}/<name>)"
    )
    if verb.reads_run or verb.takes_start:
        what = "another model" if verb.reads_run else "begin from another model's weights, with its tokenizer"
        parser.add_argument(
            "--from",
            dest="start",
            metavar="START",
            help=f"{what}: a run, RUN@STEP, a Hugging Face directory or its name on the hub",
        )
    if verb.reads_run:
        parser.set_defaults(check=False)
    else:
        parser.add_argument("--check", action="store_true", help="check the recipe and its data's paths, and stop")
        launchers.add_flags(parser)
    if verb.plan:
        add_plan_flags(parser, trains=not verb.reads_run)
    else:
        parser.set_defaults(plan=False)
    if verb.show_batch:
        parser.add_argument(
            "--show-batch",
            type=_positive,
            nargs="?",
            const=4,
            metavar="N",
            help="show N samples of the first step token by token, with what is in the loss, and stop (default: 4)",
        )
    else:
        parser.set_defaults(show_batch=None)
    parser.add_argument("--keys", action="store_true", help="list every recipe key with type, default and meaning")
    if verb.options:
        verb.options(parser)
    return parser


def _sentence(help: str) -> str:
    return help[:1].upper() + help[1:] + "."


def _examples(command: str) -> str:
    return (
        f"examples:\n  {command}\n  {command} --config FILE.yaml optimizer.lr=3e-4\n"
        f"  {command} data.sources='[{{path: a.jsonl, weight: 2}}, b.txt]'"
    )


def _unknown_flag(word: str, parser: argparse.ArgumentParser, verb: Verb) -> str:
    flag, _, value = word.partition("=")
    if flag.lstrip("-") in leaf_keys(verb.schema):
        return f"{word}: recipe keys are written without dashes, {flag.lstrip('-')}={value or 'VALUE'}"
    flags = [flag for action in parser._actions for flag in action.option_strings]
    hint = nearest(flag, flags)
    return f"no flag {flag}{f'; nearest: {hint}' if hint else ''} (see {parser.prog} --help)"


def _positive(text: str) -> int:
    number = whole_number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 up")
    return number


def _recipe_names(recipes: Path) -> list[str]:
    return sorted(path.stem for path in recipes.glob("*.yaml"))
