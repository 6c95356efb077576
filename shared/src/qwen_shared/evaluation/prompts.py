"""Prompts as ids, and as text to be read."""

from __future__ import annotations

from collections.abc import Sequence

from qwen_shared.errors import UserError
from qwen_shared.generation.sampling import Completion
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
