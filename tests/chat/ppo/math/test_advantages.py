"""Advantages against a plain loop in fp64."""

import pytest
import torch

from qwen_chat.ppo.math.advantages import advantages_and_returns, whiten
from qwen_chat.ppo.math.moments import merge, moments

GAMMAS_AND_LAMBDAS = [(1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (0.9, 0.0), (0.0, 0.5)]


def plain(rewards, values, gamma, gae_lambda):
    """One response by the definition: a sum over all later errors."""
    following = [*values[1:], 0.0]
    errors = [r + gamma * n - v for r, n, v in zip(rewards, following, values, strict=True)]
    advantages = [
        sum((gamma * gae_lambda) ** k * error for k, error in enumerate(errors[t:])) for t in range(len(errors))
    ]
    return advantages, [a + v for a, v in zip(advantages, values, strict=True)]


@pytest.mark.parametrize("gamma, gae_lambda", GAMMAS_AND_LAMBDAS)
@pytest.mark.parametrize("side, extra", [("right", 0), ("left", 2), ("right", 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_to_a_plain_loop(ragged, side, extra, gamma, gae_lambda, dtype):
    lengths = torch.randint(1, 40, (12,), generator=torch.Generator().manual_seed(3)).tolist()
    batch = ragged(side, extra, dtype=dtype, lengths=lengths)
    rewards, values = batch.returns, batch.old_values  # any numbers will do
    advantages, returns = advantages_and_returns(rewards, values, batch.mask, gamma, gae_lambda)
    assert advantages.dtype == returns.dtype == dtype
    assert not advantages[~batch.mask].any() and not returns[~batch.mask].any()
    for i in range(len(lengths)):
        real = batch.mask[i]
        expected = plain(rewards[i][real].tolist(), values[i][real].tolist(), gamma, gae_lambda)
        for got, want in zip((advantages, returns), expected, strict=True):
            want = torch.tensor(want, dtype=torch.float64)
            torch.testing.assert_close(got[i][real].double(), want, rtol=1e-6, atol=1e-6)


def test_with_lambda_1_and_gamma_1_a_return_is_the_sum_of_later_rewards(ragged):
    batch = ragged()
    _, returns = advantages_and_returns(batch.returns, batch.values, batch.mask, 1.0, 1.0)
    rewards = batch.returns.masked_fill(~batch.mask, 0.0)
    torch.testing.assert_close(returns[batch.mask], rewards.flip(1).cumsum(1).flip(1)[batch.mask])


def test_targets_carry_no_gradient(ragged):
    batch = ragged()
    for result in advantages_and_returns(batch.returns, batch.values.requires_grad_(), batch.mask, 1.0, 0.95):
        assert not result.requires_grad


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_whitening_is_over_the_tokens_of_all_ranks(ragged, ranks):
    batch = ragged(extra=2)
    rows = torch.tensor_split(torch.arange(5), ranks)
    whole = merge(torch.stack([moments(batch.advantages[row], batch.mask[row]) for row in rows]))
    white = torch.cat([whiten(batch.advantages[row], batch.mask[row], whole) for row in rows])
    real = white[batch.mask]
    assert real.mean().abs() < 1e-12 and abs(real.var(correction=0) - 1) < 1e-6
    assert not white[~batch.mask].any()
    truth = batch.advantages[batch.mask]
    torch.testing.assert_close(real, (truth - truth.mean()) / truth.std(correction=0), rtol=1e-6, atol=1e-6)


def test_equal_advantages_whiten_to_zero():
    same, mask = torch.full((2, 3), 0.3, dtype=torch.float64), torch.ones(2, 3, dtype=torch.bool)
    assert whiten(same, mask, moments(same, mask)).abs().max() < 1e-6
    assert not whiten(same, ~mask, moments(same, ~mask)).any()
