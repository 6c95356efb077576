"""An evaluation: ask, answer, run, count. What it needs of a model is one function, `Generate`."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from code_qwen.evaluation.pass_at_k import pass_at_k
from code_qwen.evaluation.settings import Evaluation
from code_qwen.evaluation.tasks import LANGUAGES, OUTCOMES, Item, Task, find_tasks
from code_qwen.extract import extract
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import Style, check_room, shown
from qwen_shared.evaluation.scoring import by_group, parts, wilson
from qwen_shared.evaluation.work import Work
from qwen_shared.generation.sampling import Completion, Generate, Sampling, truncate_at
from qwen_shared.tokenizer import Tokenizer

_AT_ONCE = 512  # answers between two savings


@dataclass(frozen=True)
class Result:
    """What an evaluation found on one task.

    `figures`: problems; pass@1 with the ends of its 95 % interval, pass@1_low and pass@1_high; pass@k for the other k
    of the settings; the outcomes' counts; tokens (mean per answer); cut (share of answers that did not end by
    themselves). `groups`: pass@1 and number of problems by family, form, …. `rows`: every answer, as in the JSONL.
    """

    figures: dict[str, float]
    groups: dict[str, dict[str, dict[str, float]]]
    rows: list[dict[str, Any]]


def evaluate(
    generate: Generate,
    tokenizer: Tokenizer,
    names: Sequence[str],
    settings: Evaluation,
    style: Style,
    system: str | None = None,
    output_dir: Path | None = None,
    model: str = "",
    languages: Sequence[str] = LANGUAGES,
) -> dict[str, Result]:
    """Results by task. `system` is the system turn that a chat model was trained with, None for its template's own;
    `languages` are those of the problems that are made here.

    With `output_dir`, <task>.jsonl there holds every answer in the end; until then what is done lies beside it, and the
    same call with the same `model` (a hash of its weights) goes on with it. Raises UserError before any answer is
    generated where a task's problems cannot be had, and where none of its prompts fits the model.
    """
    tasks = find_tasks(names)
    asked = [_ask(task, settings, style, system, tokenizer, languages) for task in tasks]
    with tempfile.TemporaryDirectory() as scratch:
        directory = output_dir or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        works = []
        for task, (items, prompts) in zip(tasks, asked, strict=True):
            decided_by = [model, tokenizer.fingerprint, style, prompts, [asdict(i) for i in items], _decisive(settings)]
            work = Work(directory / f"{task.name}.jsonl", json.dumps(decided_by))
            for part, completions in _answer(generate, task, prompts, len(work.done), settings, style):
                work.add(_rows(task, items, prompts, part, completions, settings, style, tokenizer))
            works.append(work)
        results = {}
        for task, (items, _), work in zip(tasks, asked, works, strict=True):
            results[task.name] = _count(items, work.done, settings)
            work.finish("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in work.done))
    return results


def named_figures(results: dict[str, Result]) -> dict[str, float]:
    """All figures under the names that the manifest and W&B have: eval/<task>/pass@1, eval/<task>/<family>/pass@1."""
    named: dict[str, float] = {}
    for task, result in results.items():
        named |= {f"eval/{task}/{key}": value for key, value in result.figures.items()}
        for family, figures in result.groups.get("family", {}).items():
            named[f"eval/{task}/{family}/pass@1"] = figures["pass@1"]
    return named


def _decisive(settings: Evaluation) -> dict[str, Any]:
    """The settings that decide an answer and its outcome."""
    keys = ("samples", "temperature", "top_p", "seed", "max_new_tokens", "timeout")
    return {key: getattr(settings, key) for key in keys}


def _ask(
    task: Task,
    settings: Evaluation,
    style: Style,
    system: str | None,
    tokenizer: Tokenizer,
    languages: Sequence[str],
) -> tuple[list[Item], list[list[int]]]:
    """A task's problems and their prompts."""
    shots = task.shots(style, settings.shots)
    problems = task.problems(settings.limit, languages)
    examples = problems.examples[:shots]
    return problems.items, [task.prompt(item, style, examples, system, tokenizer) for item in problems.items]


def _answer(
    generate: Generate, task: Task, prompts: list[list[int]], done: int, settings: Evaluation, style: Style
) -> Iterator[tuple[range, list[Completion]]]:
    """`samples` completions of each prompt, side by side, for a range of the problems at a time. `done` answers are
    there already."""
    sampling = Sampling(
        settings.max_new_tokens,
        temperature=settings.temperature if settings.samples > 1 else 0.0,
        top_p=settings.top_p,
        stop_texts=task.stop_texts if style == "base" else (),
    )
    size = max(1, _AT_ONCE // settings.samples)
    total = len(prompts) * settings.samples
    for first in range(done // settings.samples, len(prompts), size):
        part = range(first, min(first + size, len(prompts)))
        # Each part has a seed of its own, so that a restart draws what the whole would have drawn.
        own = replace(sampling, seed=(settings.seed << 24) + first // size)
        before = first * settings.samples
        with counting(f"answering {task.name}") as progress:
            completions = generate(
                [prompts[i] for i in part for _ in range(settings.samples)],
                own,
                lambda n, _, before=before, progress=progress: progress(before + n, total),
            )
        if first == 0:
            check_room(task.name, prompts, completions)
        yield part, completions


def _rows(
    task: Task,
    items: list[Item],
    prompts: list[list[int]],
    part: range,
    completions: list[Completion],
    settings: Evaluation,
    style: Style,
    tokenizer: Tokenizer,
) -> list[dict[str, Any]]:
    """What is kept of each answer, with what came of running it."""
    from code_qwen.sandbox import run_tests_many

    stop_texts = task.stop_texts if style == "base" else ()
    texts = [truncate_at(tokenizer.decode(c.ids), stop_texts) for c in completions]
    numbers = [i for i in part for _ in range(settings.samples)]
    programs = [program(items[i], text, style) for i, text in zip(numbers, texts, strict=True)]
    jobs = [items[i].job(code, settings.timeout) for i, code in zip(numbers, programs, strict=True)]
    with counting(f"running {task.name}") as progress:
        judgements = run_tests_many(jobs, settings.workers, progress)
    rows = []
    for place, (i, completion, judged) in enumerate(zip(numbers, completions, judgements, strict=True)):
        row: dict[str, Any] = {"task_id": items[i].id, "prompt": shown(prompts[i], tokenizer)}
        row |= {"sample": place % settings.samples} if settings.samples > 1 else {}
        row |= {"completion": texts[place], "program": programs[place]}
        row |= {"outcome": str(judged.outcome), "reason": judged.reason}
        rows.append(row | {"tokens": len(completion.ids), "stopped": completion.stopped} | items[i].groups)
    return rows


def program(item: Item, text: str, style: Style) -> str:
    """What is run of an answer: all that a base model wrote, the program in a chat model's words."""
    return item.before + text if style == "base" else extract(text, item.entry_point, item.head)


def _count(items: list[Item], rows: list[dict[str, Any]], settings: Evaluation) -> Result:
    n = settings.samples
    passed = [sum(row["outcome"] == "passed" for row in part) for part in parts(rows, n)]
    # The answers to one problem are no independent trials: the interval counts problems.
    shares = [c / n for c in passed]
    low, high = wilson(sum(shares), len(items))
    figures: dict[str, float] = {"problems": len(items), "pass@1": fmean(shares)}
    figures |= {"pass@1_low": low, "pass@1_high": high}
    figures |= {f"pass@{k}": fmean(pass_at_k(n, c, k) for c in passed) for k in sorted(set(settings.k)) if 1 < k <= n}
    counts = Counter(row["outcome"] for row in rows)
    figures |= {outcome: counts[outcome] for outcome in OUTCOMES}
    figures["tokens"] = fmean(row["tokens"] for row in rows)
    figures["cut"] = fmean(not row["stopped"] for row in rows)
    return Result(figures, by_group([item.groups for item in items], shares, "pass@1"), rows)
