"""Generalised advantage estimation and whitening."""

from __future__ import annotations

import torch
from torch import Tensor

from qwen_chat.ppo.math.moments import variance


@torch.no_grad()
def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, gae_lambda: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation (Schulman et al. 2016) over each row's real tokens; all [B, R].

    Advantage: Σₖ (γλ)ᵏ δₜ₊ₖ with δₜ = rₜ + γ·vₜ₊₁ - vₜ; return: advantage + vₜ. After its last real token a row has
    value 0, also if truncated. Summed in fp64; 0 at padding.
    """
    rewards, wide = (x.double().masked_fill(~mask, 0.0) for x in (rewards, values))
    advantages = torch.zeros_like(wide)
    next_value = next_advantage = wide.new_zeros(len(wide))  # [B]; padding leaves both unchanged
    for t in reversed(range(mask.shape[1])):
        advantage = rewards[:, t] + gamma * next_value - wide[:, t] + gamma * gae_lambda * next_advantage
        next_advantage = torch.where(mask[:, t], advantage, next_advantage)
        next_value = torch.where(mask[:, t], wide[:, t], next_value)
        advantages[:, t] = torch.where(mask[:, t], advantage, 0.0)
    return advantages.to(values.dtype), (advantages + wide).to(values.dtype)


def whiten(advantages: Tensor, mask: Tensor, moments: Tensor) -> Tensor:
    """[B, R] at mean 0 and variance 1 by the global batch's moments [3]; 0 at padding, and if all are equal."""
    scale = (variance(moments) + 1e-8).rsqrt()
    whitened = (advantages.double() - moments[1]) * scale
    return whitened.masked_fill(~mask, 0.0).to(advantages.dtype)
