"""The verb `evaluate` of every package: which model, how it is asked, and where the results go."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_shared.cli import model_argument
from qwen_shared.cli.verb import Invocation, Verb
from qwen_shared.errors import UserError
from qwen_shared.evaluation.find import find_tasks
from qwen_shared.evaluation.prompts import style_of
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Conditions, Row, Style, Task
from qwen_shared.log import say
from qwen_shared.recipe import RunRecipe
from qwen_shared.recipe.schema import Tracking

if TYPE_CHECKING:
    from qwen_shared.evaluation.run import Result

# What a recipe says of how a model is asked holds for models that were taught by it.
OWN_KEYS = ("evaluation.", "data.system")
# They change no task's metrics.
_NEUTRAL = ("name", "tasks", "tracking.", "evaluation.batch_size", "evaluation.workers", "evaluation.lengths")
_HERE = "qwen_shared.cli.evaluate_verb"


def evaluate_verb(
    help: str,
    kind: str,
    schema: type[RunRecipe],
    recipes: str = "",
    target: str = f"{_HERE}:main",
    plan: str = f"{_HERE}:plan",
    options: Callable[[argparse.ArgumentParser], Any] | None = None,
    maker: str = "sft",
) -> Verb:
    """The verb of a package whose `maker` makes runs of `kind`. `options` adds flags that `target` reads."""

    def all_options(parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--to", type=Path, metavar="DIR", help="where every answer is written (default: <run>/evaluation)"
        )
        if options:
            options(parser)

    return Verb(
        "evaluate",
        help,
        target,
        kind,
        schema=schema,
        recipes=recipes,
        reads_run=True,
        reads_data=maker == "pretrain",
        maker=maker,
        plan=plan,
        options=all_options,
        own_keys=OWN_KEYS if maker == "sft" else (),
    )


@dataclass(frozen=True)
class Asked:
    """A model, its tasks, and how it is asked."""

    name: str  # as the user wrote it
    run_dir: Path | None  # of the run that made it
    step: int | None  # of RUN@STEP
    tasks: list[str]
    conditions: Conditions  # its style is that of `auto` until the model is known

    @property
    def settings(self) -> EvaluationSettings:
        return self.conditions.settings

    @property
    def kept_in(self) -> Path | None:
        """The run that keeps the results."""
        return self.run_dir

    def found_tasks(self) -> list[Task[Any]]:
        return find_tasks(self.tasks, self.settings)

    def described(self, style: Style | None) -> str:
        """How the questions are put, in words."""
        settings = self.settings
        how = {"chat": "chat prompts", "base": "few-shot text", None: "prompts by the kind of model"}[style]
        sampled = f"{settings.samples} samples at temperature {settings.temperature:g}, top_p {settings.top_p:g}"
        drawn = "greedy" if settings.samples == 1 else sampled
        shots = "" if settings.shots is None else f", {settings.shots} shots"
        first = f", first {settings.limit} of each" if settings.limit else ""
        return f"{how}{shots}, {drawn}, up to {settings.max_new_tokens} tokens{first}"


def main(invocation: Invocation[Any]) -> None:
    asked = as_recipe(invocation)
    output = check(asked, invocation)  # what is wrong shows here, before anything is loaded

    from rich.console import Console

    from qwen_shared.evaluation.results import answer_rows, report_of, results_table
    from qwen_shared.evaluation.run import named_metrics

    directory = model_argument.hf_directory(invocation)
    style = style_of(asked.settings.prompt, directory, asked.run_dir)
    results, said = ask(asked, directory, style, output)
    Console().print(results_table(results, f"{directory} ({asked.described(style)})"))
    report = report_of(str(directory), results, named_metrics(results), **said)
    tables = {f"eval/{name}/answers": answer_rows(result) for name, result in results.items()}
    keep(asked, invocation, output, report, tables, invocation.recipe.tracking)


def plan(invocation: Invocation[Any]) -> str:
    asked = as_recipe(invocation)
    style = None if asked.settings.prompt == "auto" else asked.settings.prompt
    tasks = ", ".join(f"{task.name} ({task.place})" for task in asked.found_tasks())
    return f"{invocation.command} would ask {asked.name} the problems of {tasks}: {asked.described(style)}"


def as_recipe(invocation: Invocation[Any]) -> Asked:
    """As the run's recipe says, or for a model from elsewhere the verb's."""
    name = invocation.from_model or str(invocation.run_dir)
    run_dir = invocation.run_dir if model_argument.is_run(invocation) else None
    recipe = invocation.recipe
    return Asked(name, run_dir, model_argument.step_of(invocation), recipe.tasks, Conditions.of(recipe))


def check(asked: Asked, invocation: Invocation[Any]) -> Path | None:
    """Where answers go; None: nowhere. Raises UserError for tasks and a place that cannot be."""
    tasks = asked.found_tasks()
    output = output_directory(invocation.options.to, asked.kept_in, asked.step, invocation.overrides)
    for task in tasks:
        if task.path and output and (output / f"{task.name}.jsonl").resolve() == Path(task.path).resolve():
            raise UserError(f"--to {output}: the answers would take the place of the problems, {task.path}")
    return output


def ask(asked: Asked, directory: Path, style: Style, output: Path | None) -> tuple[dict[str, Result], dict[str, Any]]:
    """Results of the model in `directory`, and what `evaluation.json` says of it. The model is freed at the end."""
    from qwen_shared.evaluation.model import AskedModel
    from qwen_shared.evaluation.run import evaluate
    from qwen_shared.tokenizer import load_tokenizer

    conditions = replace(asked.conditions, style=style)
    model = AskedModel(directory, load_tokenizer(str(directory)), asked.settings.batch_size)
    return evaluate(asked.found_tasks(), model, conditions, output), conditions.as_dict(model.weights)


def keep(
    asked: Asked,
    invocation: Invocation[Any],
    output: Path | None,
    report: dict[str, Any],
    tables: Mapping[str, list[Row]],
    tracking: Tracking,
) -> None:
    """`evaluation.json` into `output`; the results of a run's last model also into its manifest and W&B."""
    from qwen_shared.evaluation.results import tell_run, write_report

    if output is None:
        say(f"{asked.name} is no run that keeps results: --to DIR writes every answer")
        return
    write_report(output, report)
    say(f"every answer: {', '.join(f'{output}/{name}.jsonl' for name in report['tasks'])}")
    if asked.kept_in is None or asked.step is not None:
        return
    if as_the_run_says(invocation.overrides):
        tell_run(asked.kept_in, tracking, report["results"], tables)
    else:
        say("asked otherwise than the run's recipe says: its results stay as they are")


def as_the_run_says(overrides: Sequence[str]) -> bool:
    """Whether the model is asked as its own recipe says; other tasks may be asked so too."""
    keys = [override.partition("=")[0].strip() for override in overrides]
    return all(key.startswith(_NEUTRAL) for key in keys)


def output_directory(to: Path | None, run_dir: Path | None, step: int | None, overrides: Sequence[str]) -> Path | None:
    """--to DIR; else a folder of the run: for its last checkpoint, for one at a step, or for another way of asking than
    its recipe's. None for a model from elsewhere. Raises UserError if `to` can be no directory."""
    if to:
        there = next(path for path in (to, *to.parents) if path.exists())
        if not there.is_dir():
            raise UserError(f"--to {to}: {there} is no directory")
        return to
    if run_dir is None:
        return None
    if not as_the_run_says(overrides):
        return run_dir / "evaluation-trial"
    return run_dir / (f"evaluation-{step:08d}" if step else "evaluation")
