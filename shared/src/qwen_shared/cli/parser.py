"""argparse for every verb, with one-line errors that name the nearest right word."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from qwen_shared.cli.launch_flags import add_launch_flags
from qwen_shared.cli.plan_flags import add_plan_flags
from qwen_shared.cli.verb import Tool, Verb
from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest
from qwen_shared.recipe.keys import leaf_keys, whole_number

RENAMED_FLAGS = {"--figure": "--result"}  # old → new


def check_encoding(argv: list[str]) -> None:
    """Raises UserError for a name that is not UTF-8: recipes and manifests are text."""
    for argument in argv:
        try:
            argument.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"{argument.encode('utf-8', 'surrogateescape')!r}: not UTF-8; rename the file") from None


def pick_verb(
    prog: str, description: str, verbs: list[Verb | Tool], recipes: Path, argv: list[str]
) -> Verb | Tool | None:
    """None after printing --help."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        width = max(len(verb.name) for verb in verbs)
        print(f"usage: {prog} VERB [--config NAME|FILE] [flags] [key=value ...]\n\n{description}\n\nverbs:")
        for verb in verbs:
            print(f"  {verb.name:<{width}}  {verb.help}")
        folders = dict.fromkeys(recipes / verb.recipes for verb in verbs if isinstance(verb, Verb))
        print(f"\nrecipes: {', '.join(dict.fromkeys(name for folder in folders for name in _recipe_names(folder)))}")
        print(f"\n'{prog} VERB --help' shows a verb's flags, '{prog} VERB --keys' every recipe key with its default.")
        return None
    for verb in verbs:
        if verb.name == argv[0]:
            return verb
    names = [verb.name for verb in verbs]
    hint = nearest(argv[0], names)
    raise UserError(f"no verb '{argv[0]}'{f'; nearest: {hint}' if hint else ''} (there are: {', '.join(names)})")


def parse_verb(command: str, verb: Verb, recipes: Path, default_config: str, argv: list[str]) -> argparse.Namespace:
    """The flags of a verb, and recipe keys as `overrides`. Raises UserError for anything else."""
    parser = _verb_parser(command, verb, recipes, default_config)
    args, unknown = parser.parse_known_intermixed_args(_without_false_number(argv))
    if unknown:
        raise UserError(_unknown_flag(unknown[0], parser, verb))
    args.overrides = _join_spaced(args.overrides)
    if verb.reads_run:
        _take_model(args)
    return args


def parse_tool(command: str, tool: Tool, argv: list[str]) -> argparse.Namespace:
    parser = _Parser(prog=command, description=_sentence(tool.help), allow_abbrev=False)
    tool.options(parser)
    return parser.parse_intermixed_args(argv)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].lower()}{message[1:]} (see {self.prog} --help)")


def _verb_parser(command: str, verb: Verb, recipes: Path, default_config: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=command,
        description=_sentence(verb.help),
        epilog=_examples(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(from_model=None, check=False, plan=False, show_batch=None)  # for verbs without these flags
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="recipe keys, for example optimizer.lr=3e-4; see --keys"
    )
    names = ", ".join(_recipe_names(recipes))
    parser.add_argument(
        "--config", metavar="NAME|FILE", help=f"recipe: {names}, or a YAML file (default: {default_config})"
    )
    parser.add_argument(
        "--run-dir", type=Path, metavar="DIR", help=f"the run's directory (default: runs/{verb.kind}/<name>)"
    )
    if verb.reads_run or verb.takes_parent:
        what = "another model" if verb.reads_run else "begin from another model's weights, with its tokenizer"
        parser.add_argument(
            "--from",
            dest="from_model",
            metavar="MODEL",
            help=f"{what}: a run, RUN@STEP, a Hugging Face directory or its name on the hub",
        )
    if not verb.reads_run:
        parser.add_argument("--check", action="store_true", help="check the recipe and its data's paths, and stop")
        parser.add_argument(
            "--result",
            action="append",
            default=[],
            metavar="NAME",
            help="with --check: also check that the run will have a result of this name; may be repeated",
        )
        add_launch_flags(parser)
    if verb.plan:
        add_plan_flags(parser, trains=not verb.reads_run)
    if verb.show_batch:
        parser.add_argument(
            "--show-batch",
            type=_positive,
            nargs="?",
            const=4,
            metavar="N",
            help="show N samples of the first step token by token, with the loss mask, and stop (default: 4)",
        )
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


def _unknown_flag(argument: str, parser: argparse.ArgumentParser, verb: Verb) -> str:
    flag, _, value = argument.partition("=")
    if flag in RENAMED_FLAGS:
        return f"no flag {flag}; it is now called {RENAMED_FLAGS[flag]}"
    if flag.lstrip("-") in leaf_keys(verb.schema):
        return f"{argument}: recipe keys are written without dashes, {flag.lstrip('-')}={value or 'VALUE'}"
    flags = [flag for action in parser._actions for flag in action.option_strings]
    hint = nearest(flag, flags)
    return f"no flag {flag}{f'; nearest: {hint}' if hint else ''} (see {parser.prog} --help)"


def _positive(text: str) -> int:
    number = whole_number(text)
    if not number:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return number


def _recipe_names(recipes: Path) -> list[str]:
    return sorted(path.stem for path in recipes.glob("*.yaml"))


def _without_false_number(argv: list[str]) -> list[str]:
    """In `--show-batch key=value` argparse would take the override for the number of samples."""
    if "--show-batch" in argv[:-1] and "=" in argv[(at := argv.index("--show-batch")) + 1]:
        return [*argv[:at], *argv[at + 1 :], "--show-batch"]
    return argv


def _join_spaced(arguments: list[str]) -> list[str]:
    """`key = value` typed with spaces becomes `key=value`."""
    joined: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "=" and joined:
            joined[-1] += "=" + next(rest, "")
        else:
            joined.append(argument)
    return joined


def _take_model(args: argparse.Namespace) -> None:
    """An argument other than key=value names the model, as --from does."""
    bare = [argument for argument in args.overrides if "=" not in argument]
    models = ([args.from_model] if args.from_model else []) + bare
    if len(models) > 1:
        raise UserError(f"{' and '.join(models)}: one model at a time")
    if bare:
        (args.from_model,) = bare
        args.overrides = [argument for argument in args.overrides if "=" in argument]
