"""Scores land on the last token, the KL counts once, and scores are normalised before."""

import math
import random

import pytest
import torch

from qwen_chat.ppo.math.kl import kl_per_token
from qwen_chat.ppo.math.losses import policy_loss, value_loss
from qwen_chat.ppo.math.moments import moments
from qwen_chat.ppo.math.rewards import RewardNormaliser, last_token, token_rewards, treat_truncated

LAYOUTS = [("right", 0), ("left", 0), ("right", 3), ("left", 3)]


@pytest.mark.parametrize("side, extra", LAYOUTS)
def test_the_score_lands_on_the_last_real_token(ragged, side, extra):
    batch = ragged(side, extra)
    rewards = token_rewards(batch.scores, torch.zeros_like(batch.values), batch.mask, 0.04)
    width = max(batch.lengths) + extra
    for i, length in enumerate(batch.lengths):
        last = length - 1 if side == "right" else width - 1
        assert rewards[i].nonzero().tolist() == [[last]]
        assert rewards[i, last] == batch.scores[i]
        assert last_token(batch.mask)[i].nonzero().tolist() == [[last]]


def test_a_row_of_padding_has_no_last_token():
    assert not last_token(torch.zeros(1, 3, dtype=torch.bool)).any()


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
@pytest.mark.parametrize("side, extra", LAYOUTS)
def test_the_kl_is_counted_once(ragged, side, extra, estimator):
    batch = ragged(side, extra)
    kl = kl_per_token(batch.old_logprobs, batch.reference_logprobs, batch.mask, estimator)
    rewards = token_rewards(batch.scores, kl, batch.mask, 0.04)
    torch.testing.assert_close(rewards.sum(1), batch.scores - 0.04 * kl.sum(1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("side, extra", LAYOUTS)
def test_the_kl_is_counted_once_to_the_bit(ragged, side, extra):
    """With numbers that add up exactly."""
    batch = ragged(side, extra)
    eighths = lambda x: (x * 8).round() / 8
    kl = kl_per_token(eighths(batch.old_logprobs), eighths(batch.reference_logprobs), batch.mask, "k1")
    rewards = token_rewards(eighths(batch.scores), kl, batch.mask, 0.25)
    assert torch.equal(rewards.sum(1), eighths(batch.scores) - 0.25 * kl.sum(1))


def test_garbage_in_the_kl_of_padding_stays_out(ragged):
    batch = ragged()
    kl = torch.where(batch.mask, 1.0, float("nan"))
    torch.testing.assert_close(
        token_rewards(batch.scores, kl, batch.mask, 0.5).sum(1), batch.scores - 0.5 * batch.mask.sum(1)
    )


ENDED = torch.tensor([True, False, True, False, True])


def test_truncated_responses_are_treated_as_the_recipe_says(ragged):
    batch = ragged()
    scores, mask = treat_truncated(batch.scores, batch.mask, ENDED, "penalty", -1.0)
    assert torch.equal(scores, torch.where(ENDED, batch.scores, -1.0)) and torch.equal(mask, batch.mask)
    scores, mask = treat_truncated(batch.scores, batch.mask, ENDED, "keep", -1.0)
    assert torch.equal(scores, batch.scores) and torch.equal(mask, batch.mask)
    _, mask = treat_truncated(batch.scores, batch.mask, ENDED, "mask", -1.0)
    assert torch.equal(mask[ENDED], batch.mask[ENDED]) and not mask[~ENDED].any()
    with pytest.raises(ValueError, match="none of penalty, keep, mask"):
        treat_truncated(batch.scores, batch.mask, ENDED, "drop", -1.0)


@pytest.mark.parametrize("ended", [ENDED, torch.zeros(5, dtype=torch.bool)])
def test_masked_responses_have_no_gradient(ragged, ended):
    """Also if nothing else is in the batch."""
    batch = ragged()
    _, mask = treat_truncated(batch.scores, batch.mask, ended, "mask", -1.0)
    logprobs, values = batch.logprobs.requires_grad_(), batch.values.requires_grad_()
    policy = policy_loss(logprobs, batch.old_logprobs, batch.advantages, mask, 0.2, mask.sum())
    value = value_loss(values, batch.old_values, batch.returns, mask, 0.15, mask.sum())
    (policy + value).backward()
    for gradient in (logprobs.grad, values.grad):
        assert not gradient[~ended].any()
        assert gradient[ended].any() == ended.any()


def split(scores, ranks, steps, seed):
    """[steps][ranks] tensors, of uneven sizes, some empty."""
    draw = random.Random(seed)
    cuts = sorted(draw.choices(range(len(scores) + 1), k=ranks * steps - 1))
    parts = torch.tensor_split(scores, cuts)
    return [parts[i : i + ranks] for i in range(0, len(parts), ranks)]


@pytest.mark.parametrize("offset", [0.0, 1000.0])
@pytest.mark.parametrize("ranks, steps", [(1, 1), (1, 40), (4, 1), (8, 5)])
def test_the_normaliser_does_not_see_how_scores_are_split(ranks, steps, offset):
    scores = offset + 0.01 * torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    normaliser = RewardNormaliser("mean_and_deviation", clip=5.0)
    for step in split(scores, ranks, steps, seed=ranks + steps):
        normaliser.update(torch.stack([moments(part, torch.ones(len(part), dtype=torch.bool)) for part in step]))
    assert normaliser.mean == pytest.approx(scores.mean().item(), abs=1e-12 * max(1.0, offset))
    assert normaliser.deviation == pytest.approx(scores.std(correction=0).item(), rel=1e-9)
    truth = (scores - scores.mean()) / scores.std(correction=0)
    torch.testing.assert_close(normaliser(scores), truth.float(), rtol=0, atol=1e-6)


def normaliser_of(kind, scores, clip=5.0):
    scores = torch.tensor(scores)
    normaliser = RewardNormaliser(kind, clip)
    normaliser.update(moments(scores, torch.ones_like(scores, dtype=torch.bool))[None])
    return normaliser


def test_each_kind_of_normalisation():
    scores = torch.tensor([3.0, 7.0])
    for kind, expected in (("none", [3.0, 7.0]), ("mean", [-2.0, 2.0]), ("mean_and_deviation", [-1.0, 1.0])):
        assert normaliser_of(kind, [3.0, 7.0], clip=10.0)(scores).tolist() == expected
    assert normaliser_of("mean", [3.0, 7.0], clip=1.5)(scores).tolist() == [-1.5, 1.5]
    with pytest.raises(ValueError, match="none of none, mean, mean_and_deviation"):
        RewardNormaliser("whiten", 5.0)


def test_equal_scores_are_not_blown_up():
    assert normaliser_of("mean_and_deviation", [0.7] * 5)(torch.full((5,), 0.7)).abs().max() < 1e-6


def test_the_normaliser_resumes():
    one, other = normaliser_of("mean", [1.0, 2.0, 4.0]), RewardNormaliser("mean", 5.0)
    other.load_state_dict(one.state_dict())
    assert (one.mean, one.deviation) == (other.mean, other.deviation)
    assert all(isinstance(value, float) for value in one.state_dict().values())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused_and_forgotten(bad):
    normaliser = normaliser_of("mean", [1.0, 3.0])
    with pytest.raises(ValueError, match="not finite"):
        normaliser.update(moments(torch.tensor([1.0, bad]), torch.tensor([True, True]))[None])
    assert normaliser.mean == 2.0
