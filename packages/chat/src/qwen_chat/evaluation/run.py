"""An evaluation: ask, answer, check, count. What it needs of a model is one function, `Generate`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from qwen_chat import dialogues
from qwen_chat.evaluation.statistics import distinct, repeated, words
from qwen_chat.evaluation.tasks import GROUPS, Question, find_tasks
from qwen_shared.data.conversations import Messages
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import chat_prompt, check_room
from qwen_shared.evaluation.scoring import parts, wilson
from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.files import write_atomic
from qwen_shared.generation.sampling import Completion, Generate, Sampling
from qwen_shared.tokenizer import Tokenizer

# Rewards of conversations that end with an assistant's turn.
Scorer = Callable[[list[Messages]], list[float]]

_MOST_GROUPS = 40  # of more values than this a breakdown says nothing


@dataclass(frozen=True)
class Result:
    """What an evaluation found on one task.

    `figures`: problems; ended (share of answers that ended by themselves); tokens and characters (mean per answer);
    distinct_1, distinct_2 and repeated_4 (see `statistics`). Where a program can check answers: accuracy with the ends
    of its 95 % interval, accuracy_low and accuracy_high; preference and preference_std (mean and standard deviation of
    the score that labels preference pairs). Where a reward model judged them: reward and reward_std.

    `groups`: the same figures by kind and language. `rows`: every answer, as in the JSONL; those to one problem lie
    side by side, `samples` of them.
    """

    figures: dict[str, float]
    groups: dict[str, dict[str, dict[str, float]]]
    rows: list[dict[str, Any]]
    samples: int


def check_tasks(names: Sequence[str]) -> None:
    """Raises UserError for a task that there is not."""
    find_tasks(names)


def evaluate(
    generate: Generate,
    tokenizer: Tokenizer,
    names: Sequence[str],
    settings: Evaluation,
    system: str | None = None,
    output_dir: Path | None = None,
) -> dict[str, Result]:
    """Results by task. `system` is the system turn of prompts without their own, None for the template's.

    With `output_dir`, <task>.jsonl there holds every answer as soon as its task is done. Raises UserError, before any
    answer, for a task that there is not; and where no prompt fits the model.
    """
    tasks = find_tasks(names)
    asked = [task.questions(settings.limit) for task in tasks]
    sampling = Sampling(
        settings.max_new_tokens,
        temperature=settings.temperature if settings.samples > 1 else 0.0,
        top_p=settings.top_p,
        seed=settings.seed,
    )
    results = {}
    for task, questions in zip(tasks, asked, strict=True):
        prompts = [
            chat_prompt(q.turns, None if q.turns[0]["role"] == "system" else system, tokenizer) for q in questions
        ]
        with counting(f"answering {task.name}") as progress:
            completions = generate([p for p in prompts for _ in range(settings.samples)], sampling, progress)
        check_room(task.name, prompts, completions)
        rows = [
            _row(questions[i // settings.samples], completion, tokenizer) for i, completion in enumerate(completions)
        ]
        results[task.name] = count(rows, settings.samples)
        if output_dir:
            write_rows(rows, output_dir / f"{task.name}.jsonl")
    return results


def with_rewards(result: Result, score: Scorer) -> Result:
    """The same with each answer's reward."""
    conversations = [[*row["prompt"], {"role": "assistant", "content": row["answer"]}] for row in result.rows]
    rewards = score(conversations)
    return count([row | {"reward": r} for row, r in zip(result.rows, rewards, strict=True)], result.samples)


def write_rows(rows: Sequence[dict[str, Any]], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def named_figures(results: dict[str, Result]) -> dict[str, float]:
    """All figures under the names that the manifest and W&B have: eval/<task>/accuracy, eval/<task>/<kind>/accuracy."""
    named = {}
    for task, result in results.items():
        named |= {f"eval/{task}/{key}": value for key, value in result.figures.items()}
        for kind, figures in result.groups.get("kind", {}).items():
            named |= {f"eval/{task}/{kind}/{key}": figures[key] for key in ("accuracy", "reward") if key in figures}
    return named


def count(rows: list[dict[str, Any]], samples: int) -> Result:
    groups = {}
    for key in GROUPS:
        values = sorted({row[key] for row in rows if key in row})
        if 1 < len(values) <= _MOST_GROUPS:
            groups[key] = {value: _figures([row for row in rows if row.get(key) == value], samples) for value in values}
    return Result(_figures(rows, samples), groups, rows, samples)


def _row(question: Question, completion: Completion, tokenizer: Tokenizer) -> dict[str, Any]:
    text = tokenizer.decode(completion.ids).strip()
    row = question.groups | {"prompt": question.turns, "answer": text}
    if dialogue := question.dialogue:
        row |= {"reference": dialogue.answer, "right": dialogues.right(dialogue, text)}
        row |= {"preference": dialogues.preference_score(dialogue, text)}
    return row | {"ended": completion.stopped, "tokens": len(completion.ids)}


def _figures(rows: list[dict[str, Any]], samples: int) -> dict[str, float]:
    of_problems = parts(rows, samples)
    figures: dict[str, float] = {"problems": len(of_problems)}
    if "right" in rows[0]:
        # The answers to one problem are no independent trials: the interval counts problems.
        shares = [fmean(row["right"] for row in part) for part in of_problems]
        low, high = wilson(sum(shares), len(shares))
        figures |= {"accuracy": fmean(shares), "accuracy_low": low, "accuracy_high": high}
    figures["ended"] = fmean(row["ended"] for row in rows)
    for key in ("preference", "reward"):
        if key in rows[0]:
            values = [row[key] for row in rows]
            figures |= {key: fmean(values), f"{key}_std": pstdev(values)}
    said = [words(row["answer"]) for row in rows]
    return figures | {
        "tokens": fmean(row["tokens"] for row in rows),
        "characters": fmean(len(row["answer"]) for row in rows),
        "distinct_1": distinct(said, 1),
        "distinct_2": distinct(said, 2),
        "repeated_4": fmean(repeated(answer, 4) for answer in said),
    }
