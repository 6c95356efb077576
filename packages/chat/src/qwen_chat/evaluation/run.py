"""An evaluation: ask, answer, check, count. What it needs of a model is one function, `Generate`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

from qwen_chat import dialogues
from qwen_shared.errors import UserError
from qwen_shared.evaluation.progress import counting
from qwen_shared.evaluation.prompts import chat_prompt, check_room
from qwen_shared.evaluation.scoring import by_group, parts, wilson
from qwen_shared.evaluation.settings import Evaluation
from qwen_shared.generation.sampling import Generate, Sampling
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.tracking.files import write_atomic


@dataclass(frozen=True)
class Result:
    """What an evaluation found on one task.

    `figures`: problems; accuracy with the ends of its 95 % interval, accuracy_low and accuracy_high; ended (share of
    answers that ended by themselves); preference and preference_std (mean and standard deviation of the score that
    labels preference pairs); tokens (mean per answer). `groups`: accuracy and number of problems by kind and language.
    `rows`: every answer, as in the JSONL.
    """

    figures: dict[str, float]
    groups: dict[str, dict[str, dict[str, float]]]
    rows: list[dict[str, Any]]


def check_tasks(names: Sequence[str]) -> None:
    """Raises UserError for a task that there is not."""
    for name in names:
        if name not in dialogues.HELD_OUT:
            raise UserError(f"tasks: no task '{name}' (there is: {', '.join(dialogues.HELD_OUT)})")


def evaluate(
    generate: Generate,
    tokenizer: Tokenizer,
    names: Sequence[str],
    settings: Evaluation,
    system: str | None = None,
    output_dir: Path | None = None,
) -> dict[str, Result]:
    """Results by task. `system` is the system turn of dialogues without their own, None for the template's.

    With `output_dir`, <task>.jsonl there holds every answer as soon as its task is done. Raises UserError for a task
    that there is not, and where no prompt fits the model.
    """
    check_tasks(names)
    sampling = Sampling(
        settings.max_new_tokens,
        temperature=settings.temperature if settings.samples > 1 else 0.0,
        top_p=settings.top_p,
        seed=settings.seed,
    )
    results = {}
    for name in names:
        asked = dialogues.held_out(name)[: settings.limit or None]
        turns = [dialogues.prompt(dialogue) for dialogue in asked]
        prompts = [chat_prompt(t, None if t[0]["role"] == "system" else system, tokenizer) for t in turns]
        with counting(f"answering {name}") as progress:
            completions = generate([p for p in prompts for _ in range(settings.samples)], sampling, progress)
        check_room(name, prompts, completions)
        rows = []
        for i, completion in enumerate(completions):
            dialogue, text = asked[i // settings.samples], tokenizer.decode(completion.ids).strip()
            row = {"kind": dialogue.kind, "language": dialogue.language, "prompt": turns[i // settings.samples]}
            row |= {"answer": text, "reference": dialogue.answer, "right": dialogues.right(dialogue, text)}
            row |= {"preference": dialogues.preference_score(dialogue, text), "ended": completion.stopped}
            rows.append(row | {"tokens": len(completion.ids)})
        results[name] = _count(rows, settings.samples)
        if output_dir:
            output_dir.mkdir(parents=True, exist_ok=True)
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            write_atomic(output_dir / f"{name}.jsonl", "".join(lines))
    return results


def named_figures(results: dict[str, Result]) -> dict[str, float]:
    """All figures under the names that the manifest and W&B have: eval/<task>/accuracy, eval/<task>/<kind>/accuracy."""
    named = {}
    for task, result in results.items():
        named |= {f"eval/{task}/{key}": value for key, value in result.figures.items()}
        for kind, figures in result.groups.get("kind", {}).items():
            named[f"eval/{task}/{kind}/accuracy"] = figures["accuracy"]
    return named


def _count(rows: list[dict[str, Any]], samples: int) -> Result:
    of_problems = parts(rows, samples)
    shares = [fmean(row["right"] for row in part) for part in of_problems]
    scores = [row["preference"] for row in rows]
    low, high = wilson(sum(shares), len(shares))
    figures = {
        "problems": len(shares),
        "accuracy": fmean(shares),
        "accuracy_low": low,
        "accuracy_high": high,
        "ended": fmean(row["ended"] for row in rows),
        "preference": fmean(scores),
        "preference_std": pstdev(scores),
        "tokens": fmean(row["tokens"] for row in rows),
    }
    groups = [{key: part[0][key] for key in ("kind", "language")} for part in of_problems]
    return Result(figures, by_group(groups, shares, "accuracy"), rows)
