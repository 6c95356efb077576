"""`math-qwen evaluate`: a model's accuracy on math problems, by sympy's judgement."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from math_qwen.evaluation.settings import Evaluation
from math_qwen.evaluation.tasks import OUTCOMES, find_tasks
from qwen_shared.cli import Invocation
from qwen_shared.cli.model_argument import hf_directory, is_run, step_of
from qwen_shared.evaluation import results as shared
from qwen_shared.evaluation.prompts import Style
from qwen_shared.evaluation.results import as_the_run_says, figures_table, percent, tell_run

if TYPE_CHECKING:
    from rich.console import Group

    from math_qwen.evaluation.run import Result

_TABLE_ROWS = 1000  # of a W&B table, per task


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where every answer is written (default: <run>/evaluation)"
    )


def main(invocation: Invocation) -> None:
    recipe = invocation.recipe
    find_tasks(recipe.tasks, recipe.evaluation.shots)  # what is wrong shows here, before anything is loaded
    run_dir = invocation.run_dir if is_run(invocation) else None
    output = shared.output_directory(invocation.options.to, run_dir, step_of(invocation), invocation.overrides)

    from rich.console import Console

    from math_qwen.evaluation.run import evaluate, named_figures
    from qwen_shared.files import write_atomic
    from qwen_shared.generation.decode import load_generator
    from qwen_shared.log import say
    from qwen_shared.tokenizer import load_tokenizer

    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    style = style_of(invocation, directory)
    generate = load_generator(directory, tokenizer, recipe.evaluation.batch_size)
    system = getattr(recipe.data, "system", None)
    languages = recipe.problems.languages
    results = evaluate(generate, tokenizer, recipe.tasks, recipe.evaluation, style, system, output, languages)
    Console().print(table(results, f"{directory} ({described(recipe.evaluation, style)})"))
    if output is None:
        say("not a run: --to DIR writes every answer")
        return
    report = {
        "model": str(directory),
        "style": style,
        "settings": recipe.evaluation.of_answers(),
        "tasks": {name: result.figures | {"by": result.groups} for name, result in results.items()},
    }
    write_atomic(output / "evaluation.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    say(f"every answer: {', '.join(f'{output}/{name}.jsonl' for name in results)}")
    if is_run(invocation) and step_of(invocation) is None:
        if as_the_run_says(invocation.overrides):
            tables = {f"eval/{name}/answers": answer_rows(result) for name, result in results.items()}
            tell_run(invocation.run_dir, recipe, named_figures(results), tables)
        else:
            say("asked otherwise than the run's recipe says: its results stay as they are")


def plan(invocation: Invocation) -> str:
    recipe = invocation.recipe
    tasks = find_tasks(recipe.tasks, recipe.evaluation.shots)
    places = [task.path or (task.hub[0] if task.hub else "embedded problems") for task in tasks]
    asked = ", ".join(f"{task.name} ({place})" for task, place in zip(tasks, places, strict=True))
    model = invocation.from_model or invocation.run_dir
    settings = recipe.evaluation
    style = settings.prompt if settings.prompt != "auto" else None
    return f"{invocation.command} would ask {model} the problems of {asked}: {described(settings, style)}"


def described(settings: Evaluation, style: Style | None) -> str:
    """How the questions are put, in words."""
    how = {"chat": "chat prompts", "base": "few-shot text", None: "prompts by the kind of model"}[style]
    drawn = "greedy" if settings.samples == 1 else f"{settings.samples} samples at temperature {settings.temperature:g}"
    shots = "" if settings.shots is None else f", {settings.shots} shots"
    first = f", first {settings.limit} of each" if settings.limit else ""
    return f"{how}{shots}, {drawn}, up to {settings.max_new_tokens} tokens{first}"


def style_of(invocation: Invocation, directory: Path) -> Style:
    """`auto`: few-shot text for what a pretraining left and for a model without a chat template, else its template."""
    run_dir = invocation.run_dir if is_run(invocation) else None
    return shared.style_of(invocation.recipe.evaluation.prompt, directory, run_dir)


def table(results: dict[str, Result], title: str) -> Group:
    """The figures for people, in 80 columns: a table of accuracies and one of outcomes."""
    from rich.console import Group

    figures = {name: result.figures for name, result in results.items()}
    votes = sorted({key for f in figures.values() for key in f if key.startswith("majority@")})
    columns = {
        "accuracy": lambda f: percent(f["accuracy"]),
        "95 %": lambda f: f"{100 * f['accuracy_low']:.1f} … {100 * f['accuracy_high']:.1f}",
        "loose": lambda f: percent(f["loose_accuracy"]) if "loose_accuracy" in f else "",
        **{key: lambda f, key=key: percent(f[key]) for key in votes},
        "tokens": lambda f: f"{f['tokens']:.1f}",
        "cut": lambda f: percent(f["cut"]),
    }
    counts = {key: lambda f, key=key: f"{f[key]:,}" for key in ("problems", *OUTCOMES)}
    return Group(figures_table(figures, columns, title), figures_table(figures, counts, None))


def answer_rows(result: Result) -> list[dict[str, str]]:
    """The rows of a table of answers: question, answer, gold, verdict."""
    return [
        {
            "question": row["question"],
            "answer": row["prediction"],
            "gold": row["gold"],
            "verdict": row["outcome"],
            "reason": row["reason"],
        }
        for row in result.rows[:_TABLE_ROWS]
    ]
