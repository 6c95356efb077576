"""Scores of responses: of a reward model, reward functions, or their sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from qwen_shared.errors import UserError
from qwen_shared.recipe import nearest

if TYPE_CHECKING:
    from qwen_chat.ppo.rollout import Responses
    from qwen_chat.reward.model import RewardModel

RewardFunction = Callable[..., list[float]]
_GROUP = "qwen.rewards"


def find_function(name: str, key: str) -> RewardFunction:
    """A reward function by its entry point. Raises UserError, naming `key`, if there is none."""
    known = {point.name: point for point in entry_points(group=_GROUP)}
    if name not in known:
        hint = nearest(name, list(known))
        raise UserError(
            f"{key}={name}: no such reward function{f'; nearest: {hint}' if hint else ''} (there are: "
            f"{', '.join(sorted(known))})"
        )
    return known[name].load()


def score_by(function: RewardFunction, name: str, responses: Responses) -> list[float]:
    """Raises UserError if a column is missing, or a score is not a number."""
    names = sorted({key for query in responses.queries for key in query.columns})
    columns: dict[str, Sequence[Any]] = {k: [query.columns.get(k) for query in responses.queries] for k in names}
    try:
        scores = function([query.messages for query in responses.queries], responses.texts, **columns)
        scores = [float(score) for score in scores]
    except (ValueError, TypeError) as error:
        raise UserError(f"reward function {name}: {error}") from None
    if len(scores) != len(responses.texts):
        raise UserError(f"reward function {name}: {len(scores)} scores for {len(responses.texts)} responses")
    return scores


@dataclass(frozen=True)
class Scorer:
    """Scores to train on, and one (`held_out`) that is only logged."""

    model: RewardModel | None
    functions: list[tuple[str, float, RewardFunction]] = field(default_factory=list)  # name, weight
    held_out: tuple[str, RewardFunction] | None = None

    def __call__(self, responses: Responses) -> list[float]:
        total = self.model.score(responses.rows()) if self.model else [0.0] * len(responses.ids)
        for name, weight, function in self.functions:
            scores = score_by(function, name, responses)
            total = [sum_ + weight * score for sum_, score in zip(total, scores, strict=True)]
        return total

    def held_out_scores(self, responses: Responses) -> list[float] | None:
        return score_by(self.held_out[1], self.held_out[0], responses) if self.held_out else None
