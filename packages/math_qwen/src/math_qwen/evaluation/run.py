"""An evaluation: ask, answer, judge, count. What it needs of a model is one function, `Generate`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from math_qwen.evaluation.scoring import math401_error
from math_qwen.evaluation.settings import Evaluation
from math_qwen.evaluation.tasks import LANGUAGES, OUTCOMES, Item, Task, find_tasks
from math_qwen.evaluation.votes import majority_right
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import Style, check_room, shown
from qwen_shared.evaluation.scoring import by_group, parts, wilson
from qwen_shared.files import write_atomic
from qwen_shared.generation.sampling import Completion, Generate, Sampling, truncate_at
from qwen_shared.tokenizer import Tokenizer


@dataclass(frozen=True)
class Result:
    """What an evaluation found on one task.

    `figures`: problems; accuracy with the ends of its 95 % interval, accuracy_low and accuracy_high (over several
    samples it is the mean, pass@1); the outcomes' counts; loose_accuracy by the benchmark's published rule; majority@k;
    tokens (mean per answer); cut (share of answers that did not end by themselves); for Math401 relative_error and
    non_number. `groups`: accuracy and number of problems by family, level, …. `rows`: every answer, as in the JSONL.
    """

    figures: dict[str, float]
    groups: dict[str, dict[str, dict[str, float]]]
    rows: list[dict[str, Any]]


def evaluate_problems(
    model,
    tokenizer: Tokenizer,
    names: Sequence[str],
    settings: Evaluation,
    style: Style = "chat",
    system: str | None = None,
    output_dir: Path | None = None,
) -> dict[str, Result]:
    """`evaluate` with a Hugging Face model that is loaded already."""
    from qwen_shared.generation.decode import generator

    generate = generator(model, tokenizer, settings.batch_size)
    return evaluate(generate, tokenizer, names, settings, style, system, output_dir)


def evaluate(
    generate: Generate,
    tokenizer: Tokenizer,
    names: Sequence[str],
    settings: Evaluation,
    style: Style,
    system: str | None = None,
    output_dir: Path | None = None,
    languages: Sequence[str] = LANGUAGES,
) -> dict[str, Result]:
    """Results by task. `system` is the system turn that a chat model was trained with, None for its template's own;
    `languages` are those of the embedded problems.

    With `output_dir`, <task>.jsonl there holds every answer as soon as its task is done. Raises UserError before any
    answer is generated where a task's problems cannot be had, and where none of its prompts fits the model.
    """
    tasks = find_tasks(names)
    problems = [task.items(settings.limit, languages) for task in tasks]
    shots = [task.shots(style, settings.shots) for task in tasks]
    results = {}
    for task, items, count in zip(tasks, problems, shots, strict=True):
        prompts = [task.prompt(item, style, count, system, tokenizer) for item in items]
        completions = _answer(generate, task, prompts, settings, style)
        stop_texts = task.format.stop_texts if style == "base" else ()
        texts = [truncate_at(tokenizer.decode(c.ids), stop_texts).strip() for c in completions]
        prompted = [shown(prompt, tokenizer) for prompt in prompts]
        results[task.name] = _count(task, items, prompted, completions, texts, settings.samples)
        if output_dir:
            output_dir.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in results[task.name].rows]
            write_atomic(output_dir / f"{task.name}.jsonl", "".join(lines))
    return results


def named_figures(results: dict[str, Result]) -> dict[str, float]:
    """All figures under the names that the manifest and W&B have: eval/<task>/accuracy and so on."""
    return {f"eval/{task}/{key}": value for task, result in results.items() for key, value in result.figures.items()}


def _answer(
    generate: Generate, task: Task, prompts: list[list[int]], settings: Evaluation, style: Style
) -> list[Completion]:
    """`samples` completions of each prompt, side by side."""
    sampling = Sampling(
        settings.max_new_tokens,
        temperature=settings.temperature if settings.samples > 1 else 0.0,
        top_p=settings.top_p,
        seed=settings.seed,
        stop_texts=task.format.stop_texts if style == "base" else (),
    )
    with counting(f"answering {task.name}") as progress:
        completions = generate([p for p in prompts for _ in range(settings.samples)], sampling, progress)
    check_room(task.name, prompts, completions)
    return completions


def _judge(task: Task, golds: list[str], texts: list[str]) -> list[tuple[str, str]]:
    """Outcome and reason of every answer: by sympy, for Math401 by its own rule (|difference| < 1e-3)."""
    if task.name == "math401":
        errors = [math401_error(gold, text) for gold, text in zip(golds, texts, strict=True)]
        return [
            ("unparsable", "no number") if e is None else ("right" if e[0] < 1e-3 else "wrong", f"off by {e[0]:.4g}")
            for e in errors
        ]
    from math_qwen.verify import verify_many

    verdicts = verify_many(list(zip(golds, texts, strict=True)))
    return [(str(verdict.outcome), verdict.reason) for verdict in verdicts]


def _count(
    task: Task, items: list[Item], prompts: list[str], completions: list[Completion], texts: list[str], samples: int
) -> Result:
    golds = [item.gold for item in items for _ in range(samples)]
    judged = _judge(task, golds, texts)
    rows: list[dict[str, Any]] = []
    for i, (completion, text, (outcome, reason)) in enumerate(zip(completions, texts, judged, strict=True)):
        item = items[i // samples]
        row = {"id": item.id, "question": item.question, "prompt": prompts[i // samples], "gold": item.gold}
        row |= {"sample": i % samples} if samples > 1 else {}
        row |= {"prediction": text, "outcome": outcome, "reason": reason}
        row |= {"loose": task.loose(item.gold, text)} if task.loose else {}
        rows.append(row | {"tokens": len(completion.ids), "stopped": completion.stopped} | item.groups)
    # The answers to one problem are no independent trials: the interval counts problems.
    shares = [fmean(row["outcome"] == "right" for row in part) for part in parts(rows, samples)]
    low, high = wilson(sum(shares), len(items))
    counts = Counter(row["outcome"] for row in rows)
    figures: dict[str, float] = {"problems": len(items), "accuracy": fmean(shares)}
    figures |= {"accuracy_low": low, "accuracy_high": high} | {outcome: counts[outcome] for outcome in OUTCOMES}
    if task.loose:
        figures["loose_accuracy"] = fmean(row["loose"] for row in rows)
    if samples > 1:
        votes = [(row["prediction"], row["outcome"] == "right") for row in rows]
        figures[f"majority@{samples}"] = fmean(majority_right(parts(votes, samples)))
    if task.name == "math401":
        errors = [math401_error(row["gold"], row["prediction"]) for row in rows]
        figures["relative_error"] = fmean(10.0 if error is None else error[1] for error in errors)
        figures["non_number"] = fmean(error is None for error in errors)
    figures["tokens"] = fmean(row["tokens"] for row in rows)
    figures["cut"] = fmean(not row["stopped"] for row in rows)
    return Result(figures, by_group([item.groups for item in items], shares, "accuracy"), rows)
