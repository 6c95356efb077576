"""How answers are drawn and when they end; the words every backend of generation shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """One setting for all prompts of a call. `temperature` 0 is greedy; then `top_p` and `seed` mean nothing.

    Prompt i draws from its own stream, given by (seed, first + i): what it gets does not depend on its neighbours.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop_texts: tuple[str, ...] = ()  # an answer that contains one of them ends, like one with a stop id
    first: int = 0  # the number of the first prompt, where these are a part of more
    max_length: int | None = None  # of prompt and answer together, in tokens: the model's positions

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"not a way to sample: {self}")

    def room(self, prompt: Sequence[int]) -> int:
        """How many tokens may follow a prompt; 0 or less where it fills the model's positions itself."""
        return min(self.max_new_tokens, (self.max_length or 2**62) - len(prompt))


@dataclass(frozen=True)
class Completion:
    """New tokens after a prompt, without the stop id; with the token that completed a stop text."""

    ids: list[int]
    stopped: bool  # by a stop id or a stop text; otherwise there was no more room
    stop_id: int | None = None  # the one that was drawn


Progress = Callable[[int, int], None]  # answers done, answers in all
# Completions of prompts (ids), in their order. What evaluation and rejection sampling ask for.
Generate = Callable[[list[list[int]], Sampling, Progress | None], list[Completion]]


def truncate_at(text: str, stop_texts: Sequence[str]) -> str:
    """`text` up to the first of the stop texts."""
    return text[: min((at for stop in stop_texts if (at := text.find(stop)) >= 0), default=len(text))]
