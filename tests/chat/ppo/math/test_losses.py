"""Losses and gradients against plain loops, finite differences and cases by hand."""

import math

import pytest
import torch

from qwen_chat.ppo.math.losses import policy_loss, pretraining_loss, value_loss
from qwen_chat.ppo.math.moments import moments
from qwen_chat.ppo.math.statistics import combine, explained_variance, policy_statistics

CLIP = 0.2


def one(*values):
    return torch.tensor([values], dtype=torch.float64)


def test_identical_policies_have_ratio_1_no_kl_and_nothing_clipped(ragged):
    batch = ragged(dtype=torch.float32)
    logprobs, same = batch.logprobs.requires_grad_(), batch.logprobs.detach().clone()
    statistics = policy_statistics(logprobs, same, batch.advantages, batch.mask, CLIP, batch.tokens)
    assert {name: value.item() for name, value in statistics.items()} == {
        "approximate_kl": 0.0,
        "clip_share": 0.0,
        "ratio_mean": 1.0,
        "ratio_max": 1.0,
    }
    loss = policy_loss(logprobs, same, batch.advantages, batch.mask, CLIP, batch.tokens)
    torch.testing.assert_close(loss, -batch.advantages[batch.mask].mean())
    loss.backward()  # the plain policy gradient
    torch.testing.assert_close(logprobs.grad[batch.mask], -batch.advantages[batch.mask] / batch.tokens)


def test_policy_loss_and_gradient_equal_a_plain_loop(ragged):
    batch = ragged(lengths=(30, 1, 22, 17))
    logprobs = batch.logprobs.requires_grad_()
    loss = policy_loss(logprobs, batch.old_logprobs, batch.advantages, batch.mask, CLIP, batch.tokens)
    loss.backward()
    total, seen, cuts = 0.0, set(), 0
    for i, t in batch.mask.nonzero().tolist():
        advantage = batch.advantages[i, t].item()
        ratio = math.exp(logprobs[i, t].item() - batch.old_logprobs[i, t].item())
        side = "above" if ratio > 1 + CLIP else "below" if ratio < 1 - CLIP else "inside"
        cut = (side == "above" and advantage > 0) or (side == "below" and advantage < 0)
        bound = 1 + CLIP if side == "above" else 1 - CLIP
        total -= advantage * (bound if cut else ratio) / batch.tokens
        slope = 0.0 if cut else -advantage * ratio / batch.tokens
        assert logprobs.grad[i, t].item() == pytest.approx(slope, rel=1e-12)
        seen.add((side, advantage > 0))
        cuts += cut
    assert len(seen) == 6, "a case of the clip is missing"
    assert loss.item() == pytest.approx(total, rel=1e-12)
    assert not logprobs.grad[~batch.mask].any()
    statistics = policy_statistics(logprobs, batch.old_logprobs, batch.advantages, batch.mask, CLIP, batch.tokens)
    assert statistics["clip_share"].item() == pytest.approx(cuts / batch.tokens)


def slopes(loss, x, mask, step=1e-6):
    """Central differences of a scalar at the real tokens of x, [tokens]."""
    result = []
    for i, t in mask.nonzero().tolist():
        nudge = torch.zeros_like(x)
        nudge[i, t] = step
        result.append((loss(x + nudge) - loss(x - nudge)) / (2 * step))
    return torch.stack(result)


def test_gradients_equal_finite_differences(ragged):
    batch = ragged()
    mask, tokens = batch.mask, batch.tokens
    for loss, x in (
        (lambda x: policy_loss(x, batch.old_logprobs, batch.advantages, mask, CLIP, tokens), batch.logprobs),
        (lambda x: value_loss(x, batch.old_values, batch.returns, mask, 0.15, tokens), batch.values),
    ):
        expected = slopes(loss, x, mask)
        (gradient,) = torch.autograd.grad(loss(x.requires_grad_()), x)
        assert expected.any() and not gradient[~mask].any()
        torch.testing.assert_close(gradient[mask], expected, rtol=1e-6, atol=1e-8)


def test_a_ratio_beyond_all_bounds_leaves_finite_gradients():
    mask = torch.ones(1, 4, dtype=torch.bool)
    logprobs = torch.tensor([[-1.0, -1.0, -2000.0, -2000.0]], requires_grad=True)
    old = torch.tensor([[-2000.0, -2000.0, -1.0, -1.0]])
    policy_loss(logprobs, old, torch.tensor([[1.0, -1.0, 1.0, -1.0]]), mask, CLIP, 4).backward()
    assert logprobs.grad.isfinite().all()


@pytest.mark.parametrize(
    "value, old, target, loss, slope",
    [
        (1.10, 1.0, 2.0, 0.5 * 0.90**2, -0.90),  # moved less than the clip: the plain error
        (1.40, 1.0, 2.0, 0.5 * 0.85**2, 0.0),  # moved too far towards the return: held at 1.15
        (0.60, 1.0, 2.0, 0.5 * 1.40**2, -1.40),  # moved away from it: pulled back with its own error
        (0.60, 1.0, 0.0, 0.5 * 0.85**2, 0.0),  # too far downwards: held at 0.85
        (1.40, 1.0, 1.1, 0.5 * 0.30**2, 0.30),  # past the return: its own error is the larger one
    ],
)
def test_value_clip_by_cases(value, old, target, loss, slope):
    values = one(value).requires_grad_()
    result = value_loss(values, one(old), one(target), torch.tensor([[True]]), 0.15, 1)
    result.backward()
    assert result.item() == pytest.approx(loss)
    assert values.grad.item() == pytest.approx(slope)


def test_parts_add_up_to_the_whole(ragged):
    """For micro-batches and ranks of any size: losses and statistics."""
    batch = ragged()
    rows = [torch.tensor([0, 3]), torch.tensor([1]), torch.tensor([2, 4])]

    def losses(at):
        policy = batch.logprobs[at], batch.old_logprobs[at], batch.advantages[at], batch.mask[at], CLIP, batch.tokens
        value = batch.values[at], batch.old_values[at], batch.returns[at], batch.mask[at], 0.15, batch.tokens
        return {"policy": policy_loss(*policy), "value": value_loss(*value)} | policy_statistics(*policy)

    whole, sums = losses(torch.arange(5)), combine(losses(at) for at in rows)
    assert whole.keys() == sums.keys()
    for name in whole:
        torch.testing.assert_close(sums[name], whole[name])


def test_approximate_kl_is_that_of_the_old_policy_from_the_new():
    """Enumerated, with the old probabilities as weights."""
    logits = torch.randn(2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    old, new = logits
    truth = (old.exp() * (old - new)).sum().item()
    mask = torch.ones(1, 1, dtype=torch.bool)
    pairs = [(new[i].view(1, 1), old[i].view(1, 1)) for i in range(6)]
    each = [policy_statistics(*pair, one(1.0), mask, CLIP, 1) for pair in pairs]
    kls = torch.stack([statistics["approximate_kl"] for statistics in each])
    assert (old.exp() * kls).sum().item() == pytest.approx(truth)


def test_explained_variance(ragged):
    batch = ragged()
    returns = moments(batch.returns, batch.mask)

    def explained(values):
        return explained_variance(returns, moments(batch.returns - values, batch.mask))

    assert explained(batch.returns) == 1.0
    assert explained(torch.full_like(batch.returns, 3.0)) == pytest.approx(0.0)
    assert explained(-batch.returns) == pytest.approx(-3.0)
    assert math.isnan(explained_variance(moments(one(2.0), torch.tensor([[True]])), returns))


def test_pretraining_loss_is_the_language_model_loss_times_its_coefficient(ragged):
    batch = ragged()
    logprobs = batch.logprobs.requires_grad_()
    loss = pretraining_loss(logprobs, batch.mask, 0.3, batch.tokens)
    torch.testing.assert_close(loss, -0.3 * logprobs[batch.mask].mean())
    loss.backward()
    torch.testing.assert_close(logprobs.grad, torch.where(batch.mask, -0.3 / batch.tokens, 0.0).double())
