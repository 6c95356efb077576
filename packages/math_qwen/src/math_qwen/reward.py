"""The verifier as a reward, entry point `math` of the group `qwen.rewards`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from math_qwen.verify import verify_many

_COLUMNS = ("answer", "gold", "solution")


def verified(prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]) -> list[float]:
    """1.0 for each completion whose answer is right, else 0.0.

    `completions`: texts, or lists of messages whose last one counts. Prompts are not read. The column `answer`, `gold`
    or `solution` holds gold: bare (`72`), or a solution that ends in `#### 72` or a box. Raises ValueError if there is
    no such column or lengths differ.
    """
    name = next((column for column in _COLUMNS if column in columns), None)
    if name is None:
        has = ", ".join(sorted(columns)) or "none"
        raise ValueError(
            f"the reward needs the right answers in a column `answer` (or `gold`, `solution`); columns: {has}"
        )
    golds = columns[name]
    if not len(golds) == len(completions) == len(prompts):
        raise ValueError(f"{len(prompts)} prompts, {len(completions)} completions, {len(golds)} in the column `{name}`")
    pairs = [
        (_gold(gold, k, name), _text(completion, k))
        for k, (gold, completion) in enumerate(zip(golds, completions, strict=True))
    ]
    return [1.0 if verdict.right else 0.0 for verdict in verify_many(pairs)]


def _gold(gold: Any, k: int, name: str) -> str:
    if isinstance(gold, bool) or not isinstance(gold, str | int | float):
        raise ValueError(f"the column `{name}` holds {type(gold).__name__} at {k}: must be a text or a number")
    return str(gold)


def _text(completion: Any, k: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, list | tuple) and completion and isinstance(completion[-1], dict):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
    raise ValueError(f"completion {k} is neither a text nor a list of messages")
