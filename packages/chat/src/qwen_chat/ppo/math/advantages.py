"""Which tokens did better than the value model expected."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen_chat.ppo.math.moments import variance


@torch.no_grad()
def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016) over the real tokens of each row; all [B, R].

    The advantage of token t is Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ·vₜ₊₁ - vₜ, and its return, what the value model should
    have said, advantage + vₜ. An episode ends with its last real token: nothing is expected after it, also where the
    response was truncated, for its score has been given. Summed in fp64, returned in the values' dtype; 0 at padding.
    """
    rewards, wide = (x.double().masked_fill(~mask, 0.0) for x in (rewards, values))
    advantages = torch.zeros_like(wide)
    next_value = next_advantage = wide.new_zeros(len(wide))  # [B]; padding passes both on as they are
    for t in reversed(range(mask.shape[1])):
        advantage = rewards[:, t] + gamma * next_value - wide[:, t] + gamma * gae_lambda * next_advantage
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], wide[:, t], next_value)
        advantages[:, t] = torch.where(mask[:, t], advantage, 0.0)
    return advantages.to(values.dtype), (advantages + wide).to(values.dtype)


def whiten(advantages: Tensor, mask: Tensor, moments: Tensor) -> Tensor:
    """[B, R] at mean 0 and variance 1 over all tokens whose moments [3] these are, those of the global batch; 0 at
    padding. Where all are equal there is nothing to prefer: zeros."""
    scale = (variance(moments) + 1e-8).rsqrt()
    whitened = (advantages.double() - moments[1]) * scale
    return whitened.masked_fill(~mask, 0.0).to(advantages.dtype)
