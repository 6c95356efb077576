"""Losses of the policy and the value model. Inputs [B, R], fp32 or wider.

`tokens` counts the loss-mask tokens of the global batch, so losses of micro-batches and ranks add up to the mean. An
engine that averages over ranks needs them times the number of ranks.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LARGEST_LOG_RATIO = 20.0


def token_mean(x: Tensor, mask: Tensor, tokens: Tensor | int) -> Tensor:
    """This part's share of a mean over `tokens`."""
    return x.masked_fill(~mask, 0.0).sum() / torch.as_tensor(tokens).clamp(min=1)


def ratios(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor) -> Tensor:
    """[B, R]: probability now over probability when sampled; 1 at padding. At most e²⁰, because infinity times a zero
    gradient is NaN.
    """
    difference = (logprobs - old_logprobs).masked_fill(~mask, 0.0)
    return difference.clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO).exp()


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float, tokens: Tensor | int
) -> Tensor:
    """Scalar: -mean of min(A·ratio, A·clipped ratio), the ratio clipped to 1 ± clip (Schulman et al. 2017, eq. 7)."""
    ratio = ratios(logprobs, old_logprobs, mask)
    surrogate = torch.minimum(advantages * ratio, advantages * ratio.clamp(1.0 - clip, 1.0 + clip))
    return -token_mean(surrogate, mask, tokens)


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float, tokens: Tensor | int
) -> Tensor:
    """Scalar: half the mean of the larger squared error of the value and of the value clipped to old ± clip (report:
    0.15).
    """
    values, old_values, returns = (x.masked_fill(~mask, 0.0) for x in (values, old_values, returns))
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    errors = torch.maximum((values - returns).square(), (clipped - returns).square())
    return token_mean(errors, mask, tokens) / 2


def pretraining_loss(logprobs: Tensor, mask: Tensor, coefficient: float, tokens: Tensor | int) -> Tensor:
    """Scalar: coefficient · mean negative log-probability of pretraining text, [B, S]; `tokens` counts that text.

    Against the alignment tax (report, section 3.2.2: too large hurts alignment, too small does little).
    """
    return -coefficient * token_mean(logprobs, mask, tokens)
