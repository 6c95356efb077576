"""`math-qwen evaluate`: a model's accuracy on math problems, by sympy's judgement."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from math_qwen.evaluation.settings import Evaluation
from math_qwen.evaluation.tasks import OUTCOMES, Style, find_tasks
from qwen_shared.errors import UserError
from qwen_shared.launch import Invocation
from qwen_shared.launch.model_of import hf_directory, is_run, step_of
from qwen_shared.tracking import Manifest

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from math_qwen.evaluation.run import Result

_TABLE_ROWS = 1000  # of a W&B table, per task


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where every answer is written (default: <run>/evaluation)"
    )


def main(invocation: Invocation) -> None:
    recipe = invocation.recipe
    find_tasks(recipe.tasks)  # a name that is wrong shows here, before anything is loaded
    output = _output(invocation)

    from rich.console import Console

    from math_qwen.evaluation.run import evaluate, named_figures
    from qwen_shared.generation.decode import load_generator
    from qwen_shared.tokenizer import load_tokenizer
    from qwen_shared.tracking import say
    from qwen_shared.tracking.files import write_atomic

    directory = hf_directory(invocation)
    tokenizer = load_tokenizer(str(directory))
    style = style_of(invocation, directory)
    generate = load_generator(directory, tokenizer, recipe.evaluation.batch_size)
    system = getattr(recipe.data, "system", None)
    results = evaluate(generate, tokenizer, recipe.tasks, recipe.evaluation, style, system, output)
    Console().print(table(results, f"{directory} ({described(recipe.evaluation, style)})"))
    if output is None:
        say("not a run: --to DIR writes every answer")
        return
    report = {
        "model": str(directory),
        "style": style,
        "settings": recipe.evaluation.model_dump(mode="json", include=set(Evaluation.__annotations__)),
        "tasks": {name: result.figures | {"by": result.groups} for name, result in results.items()},
    }
    write_atomic(output / "evaluation.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    say(f"every answer: {', '.join(f'{output}/{name}.jsonl' for name in results)}")
    if is_run(invocation) and step_of(invocation) is None:
        if _as_the_run_says(invocation):
            _tell_run(invocation, results, named_figures(results))
        else:
            say("asked otherwise than the run's recipe says: its results stay as they are")


def plan(invocation: Invocation) -> str:
    recipe = invocation.recipe
    tasks = find_tasks(recipe.tasks)
    places = [task.path or (task.hub[0] if task.hub else "embedded problems") for task in tasks]
    asked = ", ".join(f"{task.name} ({place})" for task, place in zip(tasks, places, strict=True))
    model = invocation.start or invocation.run_dir
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
    prompt = invocation.recipe.evaluation.prompt
    if prompt != "auto":
        return prompt
    if is_run(invocation) and (invocation.run_dir / "manifest.json").is_file():
        return "base" if Manifest.read(invocation.run_dir).kind.endswith("-pretrain") else "chat"
    return "chat" if _has_template(directory) else "base"


def table(results: dict[str, Result], title: str) -> Group:
    """The figures for people, in 80 columns: a table of accuracies and one of outcomes."""
    from rich.console import Group

    figures = {name: result.figures for name, result in results.items()}
    votes = sorted({key for f in figures.values() for key in f if key.startswith("majority@")})
    columns = {
        "accuracy": lambda f: _percent(f["accuracy"]),
        "95 %": lambda f: f"{100 * f['accuracy_low']:.1f} … {100 * f['accuracy_high']:.1f}",
        "loose": lambda f: _percent(f["loose_accuracy"]) if "loose_accuracy" in f else "",
        **{key: lambda f, key=key: _percent(f[key]) for key in votes},
        "tokens": lambda f: f"{f['tokens']:.1f}",
        "cut": lambda f: _percent(f["cut"]),
    }
    counts = {key: lambda f, key=key: f"{f[key]:,}" for key in ("problems", *OUTCOMES)}
    return Group(_table(figures, columns, title), _table(figures, counts, None))


def _table(
    figures: dict[str, dict[str, float]], columns: dict[str, Callable[[dict[str, float]], str]], title: str | None
) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    shown.add_column("task", overflow="fold")
    for column in columns:
        shown.add_column(column, justify="right", no_wrap=True)
    for name, of_task in figures.items():
        shown.add_row(name, *(show(of_task) for show in columns.values()))
    return shown


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _output(invocation: Invocation) -> Path | None:
    if to := invocation.options.to:
        there = next(path for path in (to, *to.parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"--to {to}: {there} is no directory")
        return to
    if not is_run(invocation):
        return None
    if not _as_the_run_says(invocation):
        return invocation.run_dir / "evaluation-trial"
    step = step_of(invocation)
    return invocation.run_dir / (f"evaluation-{step:08d}" if step else "evaluation")


def _as_the_run_says(invocation: Invocation) -> bool:
    """Whether the model is asked as its own recipe says; other tasks may be asked so too."""
    keys = [override.partition("=")[0].strip() for override in invocation.overrides]
    return not any(key.startswith(("evaluation.", "data.")) and key != "evaluation.batch_size" for key in keys)


def _tell_run(invocation: Invocation, results: dict[str, Result], figures: dict[str, float]) -> None:
    """The last checkpoint's figures go into the run's manifest and its W&B run, with a table of answers a task."""
    from qwen_shared.tracking.wandb_run import WandbRun

    recipe = invocation.recipe
    manifest = Manifest.read(invocation.run_dir)
    wandb = WandbRun(
        invocation.run_dir,
        recipe.model_dump(mode="json"),
        recipe.tracking,
        manifest.kind,
        manifest.name,
        manifest.wandb_run_id,
    )
    wandb.summary(figures)
    for name, result in results.items():
        wandb.table(None, f"eval/{name}/answers", answer_rows(result))
    wandb.finish(failed=False)
    manifest = Manifest.read(invocation.run_dir)  # again: the upload may have taken a while
    manifest.results = manifest.results | figures
    manifest.wandb_run_id = wandb.id
    manifest.write(invocation.run_dir)


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


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False
