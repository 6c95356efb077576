"""From the words of a command line to flags."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from qwen_shared.cli.plan_flags import add_plan_flags
from qwen_shared.cli.verb import Tool, Verb
from qwen_shared.errors import UserError
from qwen_shared.launch import launchers
from qwen_shared.recipe import nearest
from qwen_shared.recipe.keys import leaf_keys, whole_number


def read_verb(command: str, verb: Verb, recipes: Path, default_config: str, words: list[str]) -> argparse.Namespace:
    """The flags of a verb and its recipe keys. Raises UserError for a word that is neither."""
    parser = _verb_parser(command, verb, recipes, default_config)
    args, unknown = parser.parse_known_intermixed_args(_without_false_number(words))
    if unknown:
        raise UserError(_unknown_flag(unknown[0], parser, verb))
    args.overrides = _join_spaced(args.overrides)
    return args


def read_tool(command: str, tool: Tool, words: list[str]) -> argparse.Namespace:
    parser = _Parser(prog=command, description=_sentence(tool.help), allow_abbrev=False)
    tool.options(parser)
    return parser.parse_intermixed_args(words)


class _Parser(argparse.ArgumentParser):
    """argparse whose mistakes are UserErrors: one line, exit 2."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message[:1].lower()}{message[1:]} (see {self.prog} --help)")


def check_words(words: list[str]) -> None:
    """Names of files are bytes to the system; recipes and manifests, which keep them, are text."""
    for word in words:
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise UserError(f"{word.encode('utf-8', 'surrogateescape')!r}: not UTF-8; rename the file") from None


def pick_verb(
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
    if verb.reads_run or verb.takes_parent:
        what = "another model" if verb.reads_run else "begin from another model's weights, with its tokenizer"
        parser.add_argument(
            "--from",
            dest="from_model",
            metavar="MODEL",
            help=f"{what}: a run, RUN@STEP, a Hugging Face directory or its name on the hub",
        )
    if verb.reads_run:
        parser.set_defaults(check=False)
    else:
        parser.add_argument("--check", action="store_true", help="check the recipe and its data's paths, and stop")
        parser.add_argument(
            "--figure",
            action="append",
            default=[],
            metavar="NAME",
            help="with --check: also that the run's results will have one of this name; may stand several times",
        )
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
