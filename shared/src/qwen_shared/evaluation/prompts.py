"""Prompts as ids and as text, and how a model is asked if `evaluation.prompt` is `auto`. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from qwen_shared.errors import UserError
from qwen_shared.evaluation.task import Style
from qwen_shared.generation.sampling import Completion
from qwen_shared.run.manifest import RECIPE, is_chat_run
from qwen_shared.tokenizer import Tokenizer
from qwen_shared.tokenizer.interface import Message


def chat_prompt(turns: Sequence[Message], system: str | None, tokenizer: Tokenizer) -> list[int]:
    """`system` is a turn before the others; None: the template's own."""
    first = [{"role": "system", "content": system}] if system is not None else []
    return tokenizer.render([*first, *turns], add_generation_prompt=True)[0]


def shown(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """Text of ids, with names of special tokens."""
    names = {id: name for name, id in tokenizer.special_tokens.items()}
    text = ""
    plain: list[int] = []
    for id in ids:
        if id in names:
            text, plain = text + tokenizer.decode(plain) + names[id], []
        else:
            plain.append(id)
    return text + tokenizer.decode(plain)


def check_room(task: str, prompts: Sequence[Sequence[int]], completions: Sequence[Completion]) -> None:
    """Raises UserError if every prompt fills the model's positions."""
    if not any(c.ids or c.stopped for c in completions):
        shortest = min(map(len, prompts))
        raise UserError(
            f"task {task}: its prompts ({shortest:,} tokens and more) leave no room in the model's positions; "
            "evaluation.shots=0 leaves out worked examples"
        )


def style_of(prompt: Literal["auto", "chat", "base"], directory: Path, run_dir: Path | None) -> Style:
    r"""`auto`: plain text for pretrained models and models without a chat template, else the template.

    `run_dir`: the run that made the model in `directory`, if any.
    """
    if prompt != "auto":
        return prompt
    if run_dir and (run_dir / RECIPE).is_file():
        return "chat" if is_chat_run(run_dir) else "base"
    return "chat" if _has_template(directory) else "base"


def _has_template(directory: Path) -> bool:
    if (directory / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False
