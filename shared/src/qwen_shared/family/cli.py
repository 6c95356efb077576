"""The command `qwen-family`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from qwen_shared.cli.launch_flags import add_launch_flags, launch_arguments, read_launch_flags
from qwen_shared.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_STOPPED, EXIT_USER_ERROR, UserError
from qwen_shared.family.schema import Family, Stage
from qwen_shared.launch.launchers import Launch
from qwen_shared.recipe import load_recipe
from qwen_shared.text import escape_control_characters

if TYPE_CHECKING:
    from rich.table import Table

RECIPES = Path(__file__).parents[3] / "recipes" / "family"


def main(argv: list[str] | None = None) -> int:
    """Runs the unfinished stages and shows a table of all. Exit codes: see `errors`."""
    parser = argparse.ArgumentParser(
        prog="qwen-family",
        description="Train a family of models: the stages of a YAML, each by its package's command.",
        epilog="Finished stages are skipped, and a stopped one resumes: run the same command again.",
        allow_abbrev=False,
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for example stages.1.keys='[data.limit=10]'")
    names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    parser.add_argument("--config", default="tiny", metavar="NAME|FILE", help=f"{names}, or a YAML file")
    add_launch_flags(parser)
    parser.add_argument(
        "--plan", action="store_true", help="check every stage's recipe, show every stage's state, and stop"
    )
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
        print("qwen-family: stopped; the same command resumes", file=sys.stderr)
        return EXIT_STOPPED


def _run(family: Family, launch: Launch, launch_args: list[str], plan: bool) -> int:
    from rich.console import Console

    from qwen_shared.family import runner

    console = Console()
    if problems := runner.find_problems(family, launch_args):
        for line in problems:
            print(escape_control_characters(f"qwen-family: error: {line}"), file=sys.stderr)
        return EXIT_USER_ERROR
    if launch.launcher == "slurm" and not plan:
        return runner.submit(family, launch)
    code = EXIT_FINISHED
    for i, stage in enumerate([] if plan else family.stages, 1):
        console.rule(f"{i}/{len(family.stages)}  {stage.name}: {stage.command}", align="left")
        code = runner.run(family, stage, launch_args)
        if code:
            break
    console.print(_table(family))
    if plan:
        return EXIT_FINISHED
    if code == EXIT_STOPPED:
        print("stopped; the same command resumes", file=sys.stderr)
    elif code:
        print(f"qwen-family: stage {stage.name} ended with exit code {code}", file=sys.stderr)
    return code or _report_missed_goals(family)


def _report_missed_goals(family: Family) -> int:
    from qwen_shared.family.runner import missed_goals

    code = EXIT_FINISHED
    for stage in family.stages:
        if missed := missed_goals(family, stage):
            print(f"qwen-family: stage {stage.name} misses its goal: {'; '.join(missed)}", file=sys.stderr)
            code = EXIT_FAILED
    return code


def _table(family: Family) -> Table:
    """A row for each stage and goal."""
    from rich import box
    from rich.table import Table

    from qwen_shared.family.runner import results

    table = Table(title=f"family {family.name}", title_justify="left", box=box.SIMPLE_HEAD)
    for name in ("stage", "status", "took", "result", "goal", "value"):
        table.add_column(name, justify="right" if name in ("took", "value") else "left", overflow="fold")
    for stage in family.stages:
        found = results(family, stage)
        rows = [(name, goal, f"{found[name]:.3f}" if name in found else "") for name, goal in stage.goals.items()]
        for i, row in enumerate(rows or [("", "", "")]):
            about = (stage.name, _status(family, stage), _duration(found.get("seconds"))) if i == 0 else ("", "", "")
            table.add_row(*about, *row)
    return table


def _status(family: Family, stage: Stage) -> str:
    from qwen_shared.family.runner import manifest, missed_goals

    found = manifest(family, stage)
    if found is None:
        return "not begun"
    return "goal missed" if found.status == "finished" and missed_goals(family, stage) else found.status


def _duration(seconds: float | None) -> str:
    return "" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"
