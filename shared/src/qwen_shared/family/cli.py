"""The command `qwen-family`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from qwen_shared.cli.launch_flags import add_launch_flags, launch_arguments, read_launch_flags
from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, UserError
from qwen_shared.family.schema import Family
from qwen_shared.launch.launchers import Launch
from qwen_shared.recipe import load_recipe
from qwen_shared.terminal import escape_control_characters

RECIPES = Path(__file__).parents[3] / "recipes" / "family"


def main(argv: list[str] | None = None) -> int:
    """Runs what is left of a family and shows what came of it. Exit codes as everywhere (see `errors`)."""
    parser = argparse.ArgumentParser(
        prog="qwen-family",
        description="Train a family of models: the stages of a YAML, each by its package's command.",
        epilog="What is finished is skipped, what was stopped goes on: run the same command again.",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example stages.1.keys='[data.limit=10]'")
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    parser.add_argument("--config", default="tiny", metavar="NAME|FILE", help=f"{names}, or a YAML file")
    add_launch_flags(parser)
    parser.add_argument("--plan", action="store_true", help="check every stage's recipe, show what is there, and stop")
    args = parser.parse_intermixed_args(argv)
    try:
        launch = read_launch_flags(args)
        return _run(
            load_recipe(Family, args.config, args.overrides, RECIPES), launch, launch_arguments(args), args.plan
        )
    except UserError as error:
        print(escape_control_characters(f"qwen-family: error: {error}"), file=sys.stderr)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        print("qwen-family: stopped; the same command goes on", file=sys.stderr)
        return EXIT_STOPPED


def _run(family: Family, launch: Launch, given: list[str], plan: bool) -> int:
    from rich.console import Console

    from qwen_shared.family import runner
    from qwen_shared.family.summary import table

    console = Console()
    if found := runner.mistakes(family, given):
        for line in found:
            print(escape_control_characters(f"qwen-family: error: {line}"), file=sys.stderr)
        return EXIT_USER_ERROR
    if launch.launcher == "slurm" and not plan:
        return runner.submit(family, launch)
    code = EXIT_FINISHED
    for i, stage in enumerate([] if plan else family.stages, 1):
        console.rule(f"{i}/{len(family.stages)}  {stage.name}: {stage.command}", align="left")
        code = runner.run(family, stage, given)
        if code:
            break
    console.print(table(family))
    if plan:
        return EXIT_FINISHED
    if code == EXIT_STOPPED:
        print("stopped; the same command goes on", file=sys.stderr)
    elif code:
        print(f"qwen-family: stage {stage.name} ended with exit code {code}", file=sys.stderr)
    return code or _judge(family)


def _judge(family: Family) -> int:
    """What is finished and did not reach its goal is said, and is a failure."""
    from qwen_shared.family.runner import missed

    code = EXIT_FINISHED
    for stage in family.stages:
        if words := missed(family, stage):
            print(f"qwen-family: stage {stage.name} misses its goal: {'; '.join(words)}", file=sys.stderr)
            code = EXIT_FAILED
    return code
