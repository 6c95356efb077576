"""Statistics of an update and of the value model."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from qwen_chat.ppo.math.kl import kl_per_token
from qwen_chat.ppo.math.losses import ratios, token_mean
from qwen_chat.ppo.math.moments import variance


@torch.no_grad()
def policy_statistics(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float, tokens: Tensor | int
) -> dict[str, Tensor]:
    """Distance of an update from the policy that sampled; arguments as for `policy_loss`.

    `approximate_kl` (k3, nats per token), `clip_share` and `ratio_mean` are shares of means over the global batch and
    add up; `ratio_max` is of this part. On the first minibatch: 0, 0, 1, 1.
    """
    ratio = ratios(logprobs, old_logprobs, mask)
    cut = torch.where(advantages > 0, ratio > 1.0 + clip, ratio < 1.0 - clip) & (advantages != 0)
    return {
        "approximate_kl": token_mean(kl_per_token(old_logprobs, logprobs, mask, "k3"), mask, tokens),
        "clip_share": token_mean(cut.to(ratio.dtype), mask, tokens),
        "ratio_mean": token_mean(ratio, mask, tokens),
        "ratio_max": ratio.masked_fill(~mask, 0.0).max(),
    }


def combine(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Maximum of names in `_max`, sum of others."""
    parts = list(parts)
    stacked = {name: torch.stack([part[name] for part in parts]) for name in parts[0]}
    return {name: values.max() if name.endswith("_max") else values.sum() for name, values in stacked.items()}


def explained_variance(returns: Tensor, errors: Tensor) -> float:
    """1 - variance(returns - values) / variance(returns), from global moments [3]; NaN if returns are
    (nearly) equal.
    """
    spread = variance(returns)
    return (1.0 - variance(errors) / spread).item() if spread > 1e-12 else float("nan")
