"""All parts together learn a bandit: a table of logits, one token per response, one rewarded token."""

from itertools import pairwise

import pytest
import torch

from qwen_chat.ppo.math.advantages import advantages_and_returns, whiten
from qwen_chat.ppo.math.kl import kl_per_token
from qwen_chat.ppo.math.losses import policy_loss, value_loss
from qwen_chat.ppo.math.moments import moments
from qwen_chat.ppo.math.probabilities import log_probabilities
from qwen_chat.ppo.math.rewards import RewardNormaliser, token_rewards

VOCABULARY, WANTED, RESPONSES, EPOCHS = 8, 5, 256, 2


def train(steps, kl_coefficient, learning_rate, whitened, seed=0):
    """The wanted token's probability before and after every step."""
    draw = torch.Generator().manual_seed(seed)
    table = torch.zeros(VOCABULARY, requires_grad=True)
    value = torch.zeros((), requires_grad=True)
    normaliser = RewardNormaliser("mean", clip=5.0)
    reference = table.detach().log_softmax(-1)
    mask = torch.ones(RESPONSES, 1, dtype=torch.bool)
    probabilities = [1 / VOCABULARY]
    for _ in range(steps):
        tokens = torch.multinomial(table.detach().softmax(-1), RESPONSES, replacement=True, generator=draw)[:, None]
        scores = (tokens[:, 0] == WANTED).float()
        old = log_probabilities(table.detach().expand(RESPONSES, 1, -1), tokens)
        old_values = value.detach().expand(RESPONSES, 1)
        normaliser.update(moments(scores, mask[:, 0])[None])
        kl = kl_per_token(old, reference[tokens], mask, "k1")
        rewards = token_rewards(normaliser(scores), kl, mask, kl_coefficient)
        advantages, returns = advantages_and_returns(rewards, old_values, mask, 1.0, 0.95)
        if whitened:
            advantages = whiten(advantages, mask, moments(advantages, mask))
        for _ in range(EPOCHS):
            logprobs = log_probabilities(table.expand(RESPONSES, 1, -1), tokens)
            loss = policy_loss(logprobs, old, advantages, mask, 0.2, RESPONSES)
            loss = loss + value_loss(value.expand(RESPONSES, 1), old_values, returns, mask, 0.15, RESPONSES)
            for parameter, gradient in zip((table, value), torch.autograd.grad(loss, (table, value)), strict=True):
                parameter.data -= learning_rate * gradient
        probabilities.append(table.detach().softmax(-1)[WANTED].item())
    return probabilities


@pytest.mark.parametrize("seed", range(3))
def test_the_rewarded_tokens_probability_rises_at_every_step(seed):
    probabilities = train(30, kl_coefficient=0.04, learning_rate=0.2, whitened=True, seed=seed)
    assert all(after > before for before, after in pairwise(probabilities))
    assert probabilities[-1] > 0.8


def test_a_dear_kl_holds_the_policy_where_theory_says():
    """The best policy is reference · exp(reward / coefficient), normalised."""
    best = torch.tensor([0.0] * (VOCABULARY - 1) + [1.0]).softmax(-1)[-1].item()
    probabilities = train(100, kl_coefficient=1.0, learning_rate=0.5, whitened=False)
    assert probabilities[-1] == pytest.approx(best, abs=1e-3)
