"""`qwen-chat evaluate`: how well a model converses, alone or against another; and how well a reward model judges."""

from __future__ import annotations

import argparse
import gc
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_chat.evaluation import model as models
from qwen_chat.evaluation.model import Asked
from qwen_chat.evaluation.tasks import find_tasks
from qwen_shared.cli import Invocation
from qwen_shared.errors import UserError
from qwen_shared.evaluation.results import as_the_run_says, output_directory, tell_run
from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.files import write_atomic
from qwen_shared.log import say

if TYPE_CHECKING:
    from qwen_chat.evaluation.compare import Comparison
    from qwen_chat.evaluation.run import Result


def options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--against", metavar="OTHER", help="another model, named as --from is, that answers the same prompts"
    )
    parser.add_argument(
        "--reward", metavar="RUN", help="a run of `qwen-chat reward`, or its export, that judges every answer"
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="where every answer is written (default: <run>/evaluation)"
    )


def main(invocation: Invocation) -> None:
    ours = models.asked(invocation)
    if ours.kind == models.REWARD:
        _judge_the_judge(invocation, ours)
        return
    theirs, output = _checked(invocation, ours)
    judge = invocation.options.reward

    from rich.console import Console

    from qwen_chat.evaluation import compare, run, tables
    from qwen_chat.evaluation.rewards import load_scorer, reward_directory

    asked = [model for model in (ours, theirs) if model]
    directories = [model.directory() for model in asked]  # exported or downloaded before anybody is asked
    if judge:
        reward_directory(judge)
    found = []
    for model, directory in zip(asked, directories, strict=True):
        if theirs:
            say(f"asking {model.name}")
        found.append(_answers(model, directory, output if model is ours else None))
    if judge:
        score = load_scorer(judge)
        found = [{name: run.with_rewards(result, score) for name, result in results.items()} for results in found]
        if output:
            for name, result in found[0].items():
                run.write_rows(result.rows, output / f"{name}.jsonl")
    compared = {name: compare.compare(found[0][name], found[1][name]) for name in found[0]} if theirs else {}

    console = Console(highlight=False)
    for model, results in zip(asked, found, strict=True):
        console.print(tables.table(results, f"{model.name} ({described(model.settings)})"))
    for name, comparison in compared.items():
        console.print(tables.comparison_table(comparison, f"{name}: {ours.name} against {theirs.name}"))
        console.print(tables.side_by_side(comparison, ours.name, theirs.name))
    _keep(invocation, asked, found, compared, output)


def plan(invocation: Invocation) -> str:
    ours = models.asked(invocation)
    if invocation.run_dir and ours.run_dir is None and invocation.from_model is None:
        raise UserError(f"{invocation.run_dir}: no run there; `qwen-chat sft` makes one, --run-dir names another")
    if ours.kind == models.REWARD:
        _check_alone(invocation, ours)
        return f"{invocation.command} would score the held-out pairs of {ours.name} with its reward model"
    theirs, _ = _checked(invocation, ours)
    told = ", ".join(f"{task.name} ({task.place})" for task in find_tasks(ours.tasks))
    system = "the template's own system turn" if ours.system is None else f"system turn {ours.system!r}"
    said = f"{invocation.command} would ask {_found(ours)} the prompts of {told}: {described(ours.settings)}; {system}"
    said += f"; and {_found(theirs)} the same" if theirs else ""
    return said + (f"; rewards by {invocation.options.reward}" if invocation.options.reward else "")


def _found(model: Asked) -> str:
    """Its name, and whether it is here at all."""
    here = model.run_dir is not None or Path(model.name).expanduser().is_dir()
    return model.name if here else f"{model.name} (no such directory: of the Hugging Face hub)"


def described(settings: Evaluation) -> str:
    """How answers are drawn, in words."""
    sampled = f"{settings.samples} samples at temperature {settings.temperature:g}, top_p {settings.top_p:g}"
    first = f", first {settings.limit} of each" if settings.limit else ""
    return f"{'greedy' if settings.samples == 1 else sampled}, up to {settings.max_new_tokens} tokens{first}"


def _checked(invocation: Invocation, ours: Asked) -> tuple[Asked | None, Path | None]:
    """The other model, if there is one, and where answers go. Raises UserError before anything is loaded."""
    given = invocation.options
    theirs = models.other(given.against, ours, invocation.overrides) if given.against else None
    if theirs and theirs.kind == models.REWARD:
        raise UserError(f"--against {given.against}: a reward model, it answers nothing; --reward lets it judge")
    if given.reward:
        from qwen_chat.evaluation.rewards import reward_directory

        reward_directory(given.reward)
    of_run = ours.run_dir if ours.keeps_figures else None
    output = output_directory(given.to, of_run, ours.step, invocation.overrides)
    for task in find_tasks(ours.tasks):
        if task.path and output and (output / f"{task.name}.jsonl").resolve() == task.path.resolve():
            raise UserError(f"--to {output}: the answers would take the place of the prompts, {task.path}")
    return theirs, output


def _answers(model: Asked, directory: Path, output: Path | None) -> dict[str, Result]:
    """The model is gone again when this returns: a GPU may hold one at a time only."""
    from qwen_chat.evaluation.run import evaluate
    from qwen_shared.generation.decode import load_generator
    from qwen_shared.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(str(directory))
    generate = load_generator(directory, tokenizer, model.settings.batch_size)
    results = evaluate(generate, tokenizer, model.tasks, model.settings, model.system, output)
    del generate
    gc.collect()
    return results


def _keep(
    invocation: Invocation,
    asked: list[Asked],
    found: list[dict[str, Result]],
    compared: dict[str, Comparison],
    output: Path | None,
) -> None:
    """Answers and figures into the output directory; those of a run's last model also into its manifest and W&B."""
    from qwen_chat.evaluation import compare, run, tables

    if output is None:
        say(f"{asked[0].name} is no run of sft or ppo: --to DIR writes every answer")
        return
    ours, results = asked[0], found[0]
    report = _report(ours, results) | {"reward_model": invocation.options.reward}
    files = [output / f"{name}.jsonl" for name in results]
    if compared:
        theirs = asked[1]
        report["against"] = _report(theirs, found[1])
        for name, comparison in compared.items():
            report["against"]["tasks"][name]["compared"] = comparison.figures
            files.append(output / f"{name}-against-{theirs.label}.jsonl")
            run.write_rows(comparison.rows, files[-1])
    write_atomic(output / "evaluation.json", json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    say(f"every answer: {', '.join(map(str, files))}")
    if not ours.keeps_figures or ours.step is not None:
        return
    if not as_the_run_says(invocation.overrides):
        say("asked otherwise than the run's recipe says: its results stay as they are")
        return
    figures = run.named_figures(results)
    shown = {f"eval/{name}/answers": tables.answer_rows(result) for name, result in results.items()}
    for name, comparison in compared.items():
        figures |= compare.named(name, asked[1].label, comparison)
        shown[f"eval/{name}/against/{asked[1].label}"] = tables.pair_rows(comparison)
    tell_run(ours.run_dir, models.run_recipe(ours.run_dir), figures, shown)


def _report(model: Asked, results: dict[str, Result]) -> dict[str, Any]:
    return {
        "model": model.name,
        "system": model.system,
        "settings": model.settings.of_answers(),
        "tasks": {name: result.figures | {"by": result.groups} for name, result in results.items()},
    }


def _check_alone(invocation: Invocation, judge: Asked) -> None:
    """Raises UserError for what a reward model cannot be asked."""
    given = invocation.options
    for flag, value in (("--against", given.against), ("--reward", given.reward)):
        if value:
            raise UserError(
                f"{flag} {value}: {judge.name} is a reward model, it answers nothing; evaluate what it judges"
            )
    if invocation.overrides:
        raise UserError(f"{invocation.overrides[0]}: {judge.name} is a reward model, and is asked its held-out pairs")


def _judge_the_judge(invocation: Invocation, judge: Asked) -> None:
    from qwen_chat.evaluation.judge import judge_pairs

    _check_alone(invocation, judge)
    given = invocation.options
    directory = judge.directory()
    output = output_directory(given.to, judge.run_dir, judge.step, [])
    figures, tables = judge_pairs(judge, directory, output)
    write_atomic(output / "evaluation.json", json.dumps({"model": judge.name} | figures, indent=2) + "\n")
    say(f"every pair: {output}")
    if judge.step is None:
        tell_run(judge.run_dir, models.run_recipe(judge.run_dir), figures, tables)
