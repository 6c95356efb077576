"""One evaluation: problems ► prompts ► answers, or log-likelihoods of choices ► judgements ► rows ► metrics."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from qwen_shared.evaluation.choices import ChoiceTask, likeliest
from qwen_shared.evaluation.metrics import by_group, parts
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import check_room, shown
from qwen_shared.evaluation.settings import EvaluationSettings
from qwen_shared.evaluation.task import Answer, Conditions, Metrics, Row, Task
from qwen_shared.evaluation.work import Work
from qwen_shared.generation.sampling import Generate, Sampling, truncate_at
from qwen_shared.generation.score import LogLikelihoods
from qwen_shared.tokenizer import Tokenizer

# Settings that decide answers and outcomes. Other settings do not, or decide prompts, which are compared themselves.
_DECISIVE = ("samples", "temperature", "top_p", "seed", "max_new_tokens", "timeout")


class Model(Protocol):
    """See `model.AskedModel`."""

    tokenizer: Tokenizer

    @property
    def weights(self) -> str: ...  # a hash

    @property
    def generate(self) -> Generate: ...

    @property
    def log_likelihoods(self) -> LogLikelihoods: ...


@dataclass(frozen=True)
class Result:
    """One task's metrics, metrics by group and value, and a row per answer (see `task.Task`)."""

    task: Task[Any]
    metrics: Metrics
    groups: dict[str, dict[str, Metrics]]
    rows: list[Row]
    problems_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)  # `Task.facts`


@dataclass(frozen=True)
class _Asked:
    task: Task[Any]
    items: list[Any]
    prompts: list[list[int]]
    samples: int
    problems_sha256: str
    facts: dict[str, Any]


def evaluate(
    tasks: Sequence[Task[Any]], model: Model, conditions: Conditions, output: Path | None = None
) -> dict[str, Result]:
    r"""Results by task.

    `output`/<task>.jsonl holds every answer at the end. Until then answers are kept beside it, and the same call with
    the same model resumes. Raises UserError before any answer if problems cannot be read or no prompt fits the model.
    """
    asked = [_ask(task, conditions, model.tokenizer) for task in tasks]
    with tempfile.TemporaryDirectory() as scratch:
        directory = output or Path(scratch)
        directory.mkdir(parents=True, exist_ok=True)
        works = {}
        # Choices first: `generate` may take the whole GPU.
        for each in sorted(asked, key=lambda each: not isinstance(each.task, ChoiceTask)):
            works[each.task.name] = work = Work(directory / f"{each.task.name}.jsonl", _key(each, model, conditions))
            for part, answers in _answers(each, model, conditions, len(work.done)):
                work.add(_rows(each, part, answers, conditions, model.tokenizer))
        results = {}
        for each in asked:
            work = works[each.task.name]
            result = count(each.task, work.done, conditions.settings)
            results[each.task.name] = replace(result, problems_sha256=each.problems_sha256, facts=each.facts)
            work.finish(as_lines(work.done))
    return results


def count(task: Task[Any], rows: list[Row], settings: EvaluationSettings) -> Result:
    problems = parts(rows, task.samples(settings))
    groups = by_group(
        [of_problem[0]["groups"] for of_problem in problems],
        problems,
        lambda members: task.group_metrics([row for of_problem in members for row in of_problem], settings),
    )
    return Result(task, task.metrics(rows, settings), groups, rows)


def named_metrics(results: dict[str, Result]) -> Metrics:
    """Names in the manifest and W&B: `eval/<task>/accuracy`, `eval/<task>/<family>/pass@1`."""
    named: Metrics = {}
    for name, result in results.items():
        named |= {f"eval/{name}/{key}": value for key, value in result.metrics.items()}
        for group, keys in result.task.logged_groups.items():
            for value, metrics in result.groups.get(group, {}).items():
                named |= {f"eval/{name}/{value}/{key}": metrics[key] for key in keys if key in metrics}
    return named


def as_lines(rows: Sequence[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _ask(task: Task[Any], conditions: Conditions, tokenizer: Tokenizer) -> _Asked:
    items = task.items(conditions)
    prompts = [task.prompt(item, conditions, tokenizer) for item in items]
    sha256 = hashlib.sha256(json.dumps([asdict(item) for item in items], default=str).encode()).hexdigest()
    return _Asked(task, items, prompts, task.samples(conditions.settings), sha256, task.facts())


def _key(asked: _Asked, model: Model, conditions: Conditions) -> str:
    """Everything that decides a task's rows."""
    settings = {key: getattr(conditions.settings, key, None) for key in _DECISIVE}
    decisive = [model.weights, model.tokenizer.fingerprint, conditions.style, asked.prompts, asked.problems_sha256]
    return json.dumps([*decisive, settings])


def _answers(asked: _Asked, model: Model, conditions: Conditions, done: int) -> Iterator[tuple[range, list[Answer]]]:
    """Answers to a range of problems at a time; a problem's `samples` are adjacent. `done` exist already."""
    count, samples = len(asked.prompts), asked.samples
    size = count if asked.task.part_size is None else max(1, asked.task.part_size // samples)
    for first in range(done // samples, count, size):
        part = range(first, min(first + size, count))
        if isinstance(asked.task, ChoiceTask):
            yield part, _choose(asked, asked.task, model, part, conditions)
        else:
            # Each part has its own seed, so a resumed evaluation draws the same answers.
            seed = conditions.settings.seed
            seed = seed if asked.task.part_size is None else (seed << 24) + first // size
            yield part, _generate(asked, model, part, conditions, seed)


def _generate(asked: _Asked, model: Model, part: range, conditions: Conditions, seed: int) -> list[Answer]:
    settings, task, samples = conditions.settings, asked.task, asked.samples
    stop_texts = task.stop_texts() if conditions.style == "base" else ()
    sampling = Sampling(
        settings.max_new_tokens,
        temperature=settings.temperature if samples > 1 else 0.0,
        top_p=settings.top_p,
        seed=seed,
        stop_texts=stop_texts,
    )
    before, total = part.start * samples, len(asked.prompts) * samples
    with counting(f"answering {task.name}") as progress:
        completions = model.generate(
            [asked.prompts[i] for i in part for _ in range(samples)],
            sampling,
            lambda n, _: progress(before + n, total),
        )
    if part.start == 0:
        check_room(task.name, [asked.prompts[i] for i in part], completions)
    texts = [truncate_at(model.tokenizer.decode(c.ids), stop_texts) for c in completions]
    return [
        Answer(text.strip() if task.strips else text, len(c.ids), c.stopped)
        for text, c in zip(texts, completions, strict=True)
    ]


def _choose(asked: _Asked, task: ChoiceTask[Any], model: Model, part: range, conditions: Conditions) -> list[Answer]:
    choices = [task.choices(asked.items[i], conditions) for i in part]
    pairs = [
        (asked.prompts[i], model.tokenizer.encode(choice))
        for i, of_item in zip(part, choices, strict=True)
        for choice in of_item
    ]
    with counting(f"scoring {task.name}") as progress:
        scores = iter(model.log_likelihoods(pairs, progress))
    answers = []
    for of_item in choices:
        found = [next(scores) for _ in of_item]
        whole = tuple(value for value in found if value is not None)
        if len(whole) < len(found):
            answers.append(Answer("", 0, stopped=False))
            continue
        text = of_item[likeliest(whole)]
        answers.append(Answer(text, len(model.tokenizer.encode(text)), stopped=True, log_likelihoods=whole))
    return answers


def _rows(asked: _Asked, part: range, answers: list[Answer], conditions: Conditions, tokenizer: Tokenizer) -> list[Row]:
    numbers = [i for i in part for _ in range(asked.samples)]
    judgements = asked.task.judge([asked.items[i] for i in numbers], answers, conditions)
    rows = []
    for place, (i, answer, judged) in enumerate(zip(numbers, answers, judgements, strict=True)):
        item = asked.items[i]
        row = {
            "task_id": item.id,
            "sample": place % asked.samples,
            "prompt": shown(asked.prompts[i], tokenizer),
            "completion": answer.text,
            "outcome": judged.outcome,
            "score": judged.score,
            "reason": judged.reason,
            "tokens": answer.tokens,
            "stopped": answer.stopped,
            "groups": dict(item.groups),
        }
        rows.append(row | judged.extras)
    return rows
