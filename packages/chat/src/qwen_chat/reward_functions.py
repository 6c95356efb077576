"""Rewards of the embedded dialogues, registered in the group `qwen.rewards`.

Both read the columns of `qwen_chat.dialogues.columns`, not the prompts. `completions` are texts, or messages of which
the last is scored. Both raise ValueError for missing columns or different lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qwen_chat.dialogues.check import meets
from qwen_chat.dialogues.dialogue import Target, target_of
from qwen_chat.dialogues.score import score


def preference(prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]) -> list[float]:
    """0 to 4 by style if the answer is right, -1 if wrong, -2 if broken."""
    return [score(target, text) for target, text in _targets(prompts, completions, columns)]


def checked(prompts: Sequence[Any], completions: Sequence[Any], **columns: Sequence[Any]) -> list[float]:
    """1.0 if the answer is right, else 0.0."""
    return [1.0 if meets(target, text) else 0.0 for target, text in _targets(prompts, completions, columns)]


def _targets(
    prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Sequence[Any]]
) -> Iterator[tuple[Target, str]]:
    missing = [name for name in Target.__slots__ if name not in columns]
    if missing:
        raise ValueError(f"the reward needs the columns of the embedded dialogues; missing: {', '.join(missing)}")
    lengths = {len(columns[name]) for name in Target.__slots__} | {len(prompts), len(completions)}
    if len(lengths) != 1:
        raise ValueError(f"prompts, completions and columns have different lengths: {sorted(lengths)}")
    for index, completion in enumerate(completions):
        target = target_of({name: columns[name][index] for name in Target.__slots__})
        yield target, _text(completion, index)


def _text(completion: Any, index: int) -> str:
    if isinstance(completion, str):
        return completion
    if isinstance(completion, list | tuple) and completion and isinstance(completion[-1], dict):
        content = completion[-1].get("content")
        if isinstance(content, str):
            return content
    raise ValueError(f"completion {index} is neither a text nor a list of messages")
