"""One score per response becomes one reward per token.

The order: `RewardNormaliser.update` with raw scores of all ranks, the normaliser, `treat_truncated`, `token_rewards`.
Only rewards hold the KL: a KL term in a loss would count it twice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qwen_chat.ppo.math.moments import merge, variance


class RewardNormaliser:
    """Subtracts the running mean of scores (report, section 3.2.2), optionally divides by their deviation.

    Update before use.
    """

    def __init__(self, kind: str, clip: float):
        if kind not in ("none", "mean", "mean_and_deviation"):
            raise ValueError(f"kind={kind!r} is none of none, mean, mean_and_deviation")
        self.kind, self.clip = kind, clip
        self._moments = torch.zeros(3, dtype=torch.float64)

    def update(self, parts: Tensor) -> None:
        """Adds a step's raw scores as moments of all ranks, [W, 3]. Raises ValueError, and changes nothing, if one is
        not finite.
        """
        parts = parts.detach().to("cpu", torch.float64)
        if not parts.isfinite().all():
            raise ValueError("a score is not finite")
        self._moments = merge(torch.cat((self._moments[None], parts)))

    def __call__(self, scores: Tensor) -> Tensor:
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
    """Scores [B] and loss mask [B, R] if some rows have not `ended` [B]: those get the `penalty` as score, `keep`
    theirs, or (`mask`) leave all losses.
    """
    if treatment == "penalty":
        return scores.masked_fill(~ended, penalty), mask
    if treatment == "keep":
        return scores, mask
    if treatment == "mask":
        return scores, mask & ended[:, None]
    raise ValueError(f"treatment={treatment!r} is none of penalty, keep, mask")


def last_token(mask: Tensor) -> Tensor:
    """[B, R] bool: the last real token of each row."""
    remaining = mask.flip(1).cumsum(1).flip(1)  # real tokens from this one on
    return mask & (remaining == 1)


def token_rewards(scores: Tensor, kl: Tensor, mask: Tensor, coefficient: float) -> Tensor:
    """[B, R]: -coefficient · KL at every token, plus the score at the last one, also of a truncated response; 0 at
    padding.
    """
    penalty = -coefficient * kl.masked_fill(~mask, 0.0)
    return penalty + torch.where(last_token(mask), scores[:, None], 0.0)
