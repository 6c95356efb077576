"""One score per response becomes one reward per token.

In this order: `RewardNormaliser.update` with the raw scores of all ranks (where truncated responses do not keep theirs,
of those that ended), the normaliser itself, `treat_truncated`, `token_rewards`. The KL is in the rewards and nowhere
else: a loss with a KL term of its own would count it twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qwen_chat.ppo.math.moments import merge, variance


class RewardNormaliser:
    """Takes the running mean (report, section 7), or mean and deviation, of all scores so far out of a score.

    Update before use, so that the first scores are normalised, too. `clip` then bounds what one odd score can do.
    """

    def __init__(self, kind: str, clip: float):
        if kind not in ("none", "mean", "mean_and_deviation"):
            raise ValueError(f"kind={kind!r} is none of none, mean, mean_and_deviation")
        self.kind, self.clip = kind, clip
        self._moments = torch.zeros(3, dtype=torch.float64)

    def update(self, parts: Tensor) -> None:
        """Adds a step's raw scores by their moments on every rank, [W, 3] (see `moments`).

        All ranks must give the same parts. How scores are split over ranks and steps changes only rounding. Raises
        ValueError, unchanged, where a score was not finite: one such would spoil every later mean.
        """
        parts = parts.detach().to("cpu", torch.float64)
        if not parts.isfinite().all():
            raise ValueError("a score is not finite")
        self._moments = merge(torch.cat((self._moments[None], parts)))

    def __call__(self, scores: Tensor) -> Tensor:
        """Normalised and clipped scores [B], fp32."""
        scores = scores.double()
        if self.kind != "none":
            scores = scores - self.mean
        if self.kind == "mean_and_deviation":
            scores = scores / max(self.deviation, 1e-8)
        return scores.clamp(-self.clip, self.clip).float()

    @property
    def mean(self) -> float:
        return self._moments[1].item()

    @property
    def deviation(self) -> float:
        return variance(self._moments).sqrt().item()

    def state_dict(self) -> dict[str, float]:
        return dict(zip(("count", "mean", "squares"), self._moments.tolist(), strict=True))

    def load_state_dict(self, state: dict[str, float]) -> None:
        values = [state[name] for name in ("count", "mean", "squares")]
        self._moments = torch.tensor(values, dtype=torch.float64)


def treat_truncated(
    scores: Tensor, mask: Tensor, ended: Tensor, treatment: str, penalty: float
) -> tuple[Tensor, Tensor]:
    """Scores [B] and loss mask [B, R] of a batch in which only some rows `ended` [B].

    `penalty`: the others' score is that; `keep`: what the reward model read off a response that was cut short;
    `mask`: they are in no loss and no statistic. Whatever counts tokens afterwards counts those of the loss mask.
    """
    if treatment == "penalty":
        return scores.masked_fill(~ended, penalty), mask
    if treatment == "keep":
        return scores, mask
    if treatment == "mask":
        return scores, mask & ended[:, None]
    raise ValueError(f"treatment={treatment!r} is none of penalty, keep, mask")


def last_token(mask: Tensor) -> Tensor:
    """[B, R] bool: the last real token of each row, wherever the padding is; none in a row of padding."""
    remaining = mask.flip(1).cumsum(1).flip(1)  # real tokens from here on
    return mask & (remaining == 1)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """[B, R]: -coefficient · KL [B, R] at every token, and the score [B] at the last one; zero at padding.

    A row adds up to its score less coefficient times its KL. The last real token is the end token where the response
    has one; a truncated response gets its score there, too.
    """
    penalty = -coefficient * kl.masked_fill(~mask, 0.0)
    return penalty + torch.where(last_token(mask), scores[:, None], 0.0)
