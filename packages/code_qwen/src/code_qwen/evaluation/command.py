"""`code-qwen evaluate`: how many of a model's programs pass their tests, run in the sandbox."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from code_qwen.evaluation.settings import Evaluation
from code_qwen.evaluation.tasks import OUTCOMES, find_tasks
from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import hf_directory, is_run, step_of
from qwen_shared.evaluation.prompts import Style
from qwen_shared.evaluation.results import (
    as_the_run_says,
    figures_table,
    output_directory,
    percent,
    style_of,
    tell_run,
)
from qwen_shared.log import say

if TYPE_CHECKING:
    from rich.console import Group

    from code_qwen.evaluation.run import Result
    from code_qwen.sandbox import Guarantee

_TABLE_ROWS = 1000  # of a W&B table, per task


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where every answer is written (default: <run>/evaluation)"
    )
    isolation_option(parser)


def isolation_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--require-isolation", action="store_true", help="refuse to run programs where this machine cannot isolate them"
    )


def main(invocation: Invocation) -> None:
    recipe = invocation.recipe
    find_tasks(recipe.tasks, recipe.evaluation.shots)  # what is wrong shows here, before anything is loaded
    run_dir = invocation.run_dir if is_run(invocation) else None
    step = step_of(invocation)
    output = output_directory(invocation.options.to, run_dir, step, invocation.overrides)

    from code_qwen import sandbox

    if invocation.options.require_isolation:
        sandbox.require_isolation()

    from rich.console import Console

    from code_qwen.evaluation.run import evaluate, named_figures
    from qwen_shared.convert.hf_files import weights_hash
    from qwen_shared.files import write_atomic
    from qwen_shared.generation.decode import load_generator
    from qwen_shared.tokenizer import load_tokenizer

    isolation = sandbox.isolation()
    say_what_is_not_held(isolation)
    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    style = style_of(recipe.evaluation.prompt, directory, run_dir)
    generate = load_generator(directory, tokenizer, recipe.evaluation.batch_size)
    system = getattr(recipe.data, "system", None)
    model = weights_hash(directory)
    languages = recipe.problems.languages
    results = evaluate(generate, tokenizer, recipe.tasks, recipe.evaluation, style, system, output, model, languages)
    Console().print(table(results, f"{directory} ({described(recipe.evaluation, style)})"))
    if output is None:
        say("not a run: --to DIR writes every answer")
        return
    report = {
        "model": str(directory),
        "weights": model,
        "style": style,
        "isolation": {guarantee.name: guarantee.how if guarantee.held else None for guarantee in isolation},
        "settings": recipe.evaluation.of_answers(),
        "tasks": {name: result.figures | {"by": result.groups} for name, result in results.items()},
    }
    write_atomic(output / "evaluation.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    say(f"every answer: {', '.join(f'{output}/{name}.jsonl' for name in results)}")
    if run_dir and step is None:
        if as_the_run_says(invocation.overrides):
            tables = {f"eval/{name}/answers": answer_rows(result) for name, result in results.items()}
            tell_run(run_dir, recipe, named_figures(results), tables)
        else:
            say("asked otherwise than the run's recipe says: its results stay as they are")


def say_what_is_not_held(isolation: Sequence[Guarantee]) -> None:
    """Before any program of a model's is run: what this machine cannot keep it from."""
    for guarantee in isolation:
        if not guarantee.held:
            say(f"the sandbox does not guarantee {guarantee.name} here: {guarantee.how}")


def plan(invocation: Invocation) -> str:
    tasks = find_tasks(invocation.recipe.tasks, invocation.recipe.evaluation.shots)
    asked = ", ".join(f"{task.name} ({task.place})" for task in tasks)
    model = invocation.from_model or invocation.run_dir
    settings = invocation.recipe.evaluation
    style = settings.prompt if settings.prompt != "auto" else None
    return f"{invocation.command} would ask {model} the problems of {asked}: {described(settings, style)}"


def described(settings: Evaluation, style: Style | None) -> str:
    """How the questions are put, in words."""
    how = {"chat": "chat prompts", "base": "text to go on with", None: "prompts by the kind of model"}[style]
    sampled = f"{settings.samples} samples at temperature {settings.temperature:g}, top_p {settings.top_p:g}"
    drawn = "greedy" if settings.samples == 1 else sampled
    shots = "" if settings.shots is None else f", {settings.shots} shots for mbpp"
    first = f", first {settings.limit} of each" if settings.limit else ""
    return f"{how}{shots}, {drawn}, up to {settings.max_new_tokens} tokens{first}"


def table(results: dict[str, Result], title: str) -> Group:
    """The figures for people, in 80 columns: pass@k, the outcomes, and pass@1 by family where there are families."""
    from rich.console import Group

    figures = {name: result.figures for name, result in results.items()}
    ks = sorted({key for f in figures.values() for key in f if key.startswith("pass@")} - _ENDS, key=_k)
    columns: dict[str, Callable[[dict[str, float]], str]] = {
        "pass@1": lambda f: percent(f["pass@1"]),
        "95 %": lambda f: f"{100 * f['pass@1_low']:.1f} … {100 * f['pass@1_high']:.1f}",
        **{key: lambda f, key=key: percent(f[key]) for key in ks[1:]},
        "tokens": lambda f: f"{f['tokens']:.1f}",
        "cut": lambda f: percent(f["cut"]),
    }
    counts = {key: lambda f, key=key: f"{f[key]:,}" for key in ("problems", *OUTCOMES)}
    tables = [figures_table(figures, columns, title), figures_table(figures, counts, None)]
    families = family_figures(results)
    if families:
        shown: dict[str, Callable[[dict[str, Any]], str]] = {
            "pass@1": lambda f: percent(f["pass@1"]),
            "problems": lambda f: f"{f['problems']:,}",
        }
        tables.append(figures_table(families, shown, None))
    return Group(*tables)


_ENDS = {"pass@1_low", "pass@1_high"}


def _k(name: str) -> int:
    return int(name.removeprefix("pass@"))


def family_figures(results: dict[str, Result]) -> dict[str, dict[str, float]]:
    """Figures by `<task>/<family>`."""
    return {
        f"{name}/{family}": figures
        for name, result in results.items()
        for family, figures in result.groups.get("family", {}).items()
    }


def answer_rows(result: Result) -> list[dict[str, str]]:
    """The rows of a table of answers."""
    keys = ("task_id", "prompt", "completion", "program", "outcome", "reason")
    return [{key: row[key] for key in keys} for row in result.rows[:_TABLE_ROWS]]
