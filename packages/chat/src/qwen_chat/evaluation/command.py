"""`qwen-chat evaluate`: how well a model converses, alone or against another; and how well a reward model scores."""

from __future__ import annotations

import argparse
import gc
from pathlib import Path
from typing import Any

from qwen_chat.evaluation import model as models
from qwen_chat.evaluation.model import AskedChat
from qwen_shared.cli import Invocation
from qwen_shared.cli import evaluate_verb as shared
from qwen_shared.errors import UserError
from qwen_shared.evaluation.task import Style
from qwen_shared.files import write_atomic


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against", metavar="OTHER", help="another model, named as --from is, that answers the same prompts"
    )
    parser.add_argument(
        "--reward", metavar="RUN", help="a run of `qwen-chat reward`, or its export, that scores every answer"
    )


def main(invocation: Invocation[Any]) -> None:
    ours = models.asked(invocation)
    if ours.kind == models.REWARD:
        _evaluate_reward_model(invocation, ours)
        return
    theirs, output = _checked(invocation, ours)
    reward, samples = invocation.options.reward, ours.settings.samples

    from rich.console import Console

    from qwen_chat.evaluation import compare, tables
    from qwen_chat.evaluation.rewards import load_scorer, reward_directory, with_rewards
    from qwen_shared.evaluation.results import answer_rows, report_of, results_table
    from qwen_shared.evaluation.run import as_lines, named_metrics

    asked = [model for model in (ours, theirs) if model]
    directories = [model.directory() for model in asked]  # exported or downloaded before any model is asked
    if reward:
        reward_directory(reward)
    found, said = [], []
    for model, directory in zip(asked, directories, strict=True):
        if theirs:
            shared.say(f"asking {model.name}")
        results, about = shared.ask(model, directory, _style(model), output if model is ours else None)
        gc.collect()  # a GPU may hold one model at a time only
        found.append(results)
        said.append(about)
    if reward:
        score = load_scorer(reward)
        found = [
            {k: with_rewards(result, score, ours.settings) for k, result in of_model.items()} for of_model in found
        ]
    compared = {name: compare.compare(found[0][name], found[1][name], samples) for name in found[0]} if theirs else {}

    console = Console(highlight=False)
    for model, results in zip(asked, found, strict=True):
        console.print(results_table(results, f"{model.name} ({model.described(_style(model))})"))
    for name, comparison in compared.items():
        console.print(tables.comparison_table(comparison, f"{name}: {asked[0].name} against {asked[1].name}"))
        console.print(tables.side_by_side(comparison, asked[0].name, asked[1].name))

    named = named_metrics(found[0])
    shown = {f"eval/{name}/answers": answer_rows(result) for name, result in found[0].items()}
    for name, comparison in compared.items():
        named |= compare.named(name, asked[1].label, comparison)
        shown[f"eval/{name}/against/{asked[1].label}"] = tables.pair_rows(comparison)
    report = report_of(ours.name, found[0], named, reward_model=reward, **said[0])
    if compared:
        report["against"] = report_of(asked[1].name, found[1], named_metrics(found[1]), **said[1])
        for name, comparison in compared.items():
            report["against"]["tasks"][name]["compared"] = comparison.metrics
    if output:
        for name, result in found[0].items() if reward else ():
            write_atomic(output / f"{name}.jsonl", as_lines(result.rows))
        for name, comparison in compared.items():
            write_atomic(output / f"{name}-against-{asked[1].label}.jsonl", as_lines(comparison.rows))
    shared.keep(ours, invocation, output, report, shown, _tracking(ours))


def plan(invocation: Invocation[Any]) -> str:
    ours = models.asked(invocation)
    if invocation.run_dir and ours.run_dir is None and invocation.from_model is None:
        raise UserError(f"{invocation.run_dir}: no run there; `qwen-chat sft` makes one, --run-dir names another")
    if ours.kind == models.REWARD:
        _check_alone(invocation, ours)
        return f"{invocation.command} would score the held-out pairs of {ours.name} with its reward model"
    theirs, _ = _checked(invocation, ours)
    tasks = ", ".join(f"{task.name} ({task.place})" for task in ours.found_tasks())
    system = "the template's own system turn" if ours.system is None else f"system turn {ours.system!r}"
    said = f"{invocation.command} would ask {_found(ours)} the problems of {tasks}: {ours.described(_style(ours))}"
    said += f"; {system}" + (f"; and {_found(theirs)} the same" if theirs else "")
    return said + (f"; rewards by {invocation.options.reward}" if invocation.options.reward else "")


def _style(model: AskedChat) -> Style:
    return "chat" if model.settings.prompt == "auto" else model.settings.prompt


def _tracking(model: AskedChat) -> Any:
    return models.run_recipe(model.run_dir).tracking if model.run_dir else None


def _found(model: AskedChat) -> str:
    """Its name, and whether it is on this machine."""
    here = model.run_dir is not None or Path(model.name).expanduser().is_dir()
    return model.name if here else f"{model.name} (no such directory: of the Hugging Face hub)"


def _checked(invocation: Invocation[Any], ours: AskedChat) -> tuple[AskedChat | None, Path | None]:
    """The other model, if there is one, and where answers go. Raises UserError before anything is loaded."""
    given = invocation.options
    theirs = models.other(given.against, ours, invocation.overrides) if given.against else None
    if theirs and theirs.kind == models.REWARD:
        raise UserError(f"--against {given.against}: a reward model, it answers nothing; --reward lets it score")
    if given.reward:
        from qwen_chat.evaluation.rewards import reward_directory

        reward_directory(given.reward)
    return theirs, shared.check(ours, invocation)


def _check_alone(invocation: Invocation[Any], model: AskedChat) -> None:
    """Raises UserError for words that a reward model has no use for."""
    given = invocation.options
    for flag, value in (("--against", given.against), ("--reward", given.reward)):
        if value:
            raise UserError(
                f"{flag} {value}: {model.name} is a reward model, it answers nothing; evaluate what it scores"
            )
    if invocation.overrides:
        raise UserError(f"{invocation.overrides[0]}: {model.name} is a reward model, and is asked its held-out pairs")


def _evaluate_reward_model(invocation: Invocation[Any], model: AskedChat) -> None:
    from qwen_chat.evaluation.pairs import score_pairs

    _check_alone(invocation, model)
    directory = model.directory()
    output = shared.output_directory(invocation.options.to, model.run_dir, model.step, [])
    assert output  # it is a run's
    report, tables = score_pairs(model, directory, output)
    shared.keep(model, invocation, output, report, tables, _tracking(model))
