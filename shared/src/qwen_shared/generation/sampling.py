"""Types that generation backends share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    r"""`temperature` 0 is greedy and ignores `top_p` and `seed`.

    Prompt i draws from the random stream (seed, first + i): its answer does not depend on other prompts.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop_texts: tuple[str, ...] = ()  # an answer ends when it contains one
    first: int = 0  # number of the first prompt, if a call gets only some
    max_length: int | None = None  # prompt and answer together

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.temperature < 0 or not 0 < self.top_p <= 1:
            raise ValueError(f"not a way to sample: {self}")

    def room(self, prompt: Sequence[int]) -> int:
        """Tokens that may follow; 0 or less if there is no room."""
        return min(self.max_new_tokens, (self.max_length or 2**62) - len(prompt))


@dataclass(frozen=True)
class Completion:
    """Tokens after a prompt, without the stop id, with the token that completed a stop text."""

    ids: list[int]
    stopped: bool  # by a stop id or stop text
    stop_id: int | None = None


Progress = Callable[[int, int], None]  # (answers done, total)
# Completions in the order of the prompts (ids).
Generate = Callable[[list[list[int]], Sampling, Progress | None], list[Completion]]


def truncate_at(text: str, stop_texts: Sequence[str]) -> str:
    """`text` up to the first stop text."""
    return text[: min((at for stop in stop_texts if (at := text.find(stop)) >= 0), default=len(text))]
