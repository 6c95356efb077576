"""The estimators against the exact KL, by enumeration of a small vocabulary."""

import pytest
import torch

from qwen_chat.ppo.math.kl import KlController, kl_per_token

EVERY = torch.ones(1, 6, dtype=torch.bool)  # one response token for each of six words


def distributions(distance, seed=0):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, generator=draw, dtype=torch.float64)
    policy = logits + distance * torch.randn(6, generator=draw, dtype=torch.float64)
    return policy, logits.log_softmax(-1)


def exact(policy, reference):
    logs = policy.log_softmax(-1)
    return (logs.exp() * (logs - reference)).sum()


def expected(policy, reference, estimator):
    """The estimator's mean over the policy's samples, weighted by probability, without gradient through the weights."""
    logs = policy.log_softmax(-1)
    return (logs.exp().detach() * kl_per_token(logs[None], reference[None], EVERY, estimator)[0]).sum()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("distance", [0.01, 0.3, 2.0])
def test_k1_and_k3_are_unbiased(distance, seed):
    policy, reference = distributions(distance, seed)
    truth = exact(policy, reference).item()
    for estimator in ("k1", "k3"):
        assert expected(policy, reference, estimator).item() == pytest.approx(truth, rel=1e-9, abs=1e-12)


def test_k2_is_biased_in_third_order():
    biases = []
    for distance in (0.02, 0.01):
        policy, reference = distributions(distance)
        biases.append(abs(expected(policy, reference, "k2") - exact(policy, reference)).item())
    assert biases[0] / biases[1] == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_k2_and_k3_are_never_negative(estimator):
    policy, reference = distributions(1.0)
    assert (kl_per_token(policy.log_softmax(-1)[None], reference[None], EVERY, estimator) >= 0).all()


def test_as_a_reward_only_k1_has_the_gradient_of_the_kl():
    """Why the recipe's default is k1: the score-function gradient Σ p · k · ∇log p, near the reference."""
    policy, reference = distributions(0.01)
    policy.requires_grad_()
    (truth,) = torch.autograd.grad(exact(policy, reference), policy)

    def as_reward(estimator):
        logs = policy.log_softmax(-1)
        k = kl_per_token(logs[None], reference[None], EVERY, estimator)[0].detach()
        (gradient,) = torch.autograd.grad((logs.exp().detach() * k * logs).sum(), policy)
        return gradient

    torch.testing.assert_close(as_reward("k1"), truth)
    for estimator in ("k2", "k3"):
        assert as_reward(estimator).norm() < 0.05 * truth.norm()


def test_equal_policies_are_at_no_distance_and_padding_neither(ragged):
    batch = ragged(fill=float("inf"))
    for estimator in ("k1", "k2", "k3"):
        assert not kl_per_token(batch.logprobs, batch.logprobs.clone(), batch.mask, estimator).any()
        kl = kl_per_token(batch.logprobs, batch.reference_logprobs, batch.mask, estimator)
        assert not kl[~batch.mask].any() and kl[batch.mask].all()
    with pytest.raises(ValueError, match="none of k1, k2, k3"):
        kl_per_token(batch.logprobs, batch.logprobs, batch.mask, "k4")


def test_the_coefficient_follows_the_kl():
    controller = KlController(0.04, target=6.0)
    for kl, factor in ((60.0, 1.02), (6.6, 1.01), (6.0, 1.0), (5.4, 0.99), (0.0, 0.98), (float("inf"), 1.02)):
        before = controller.coefficient
        controller.update(kl)
        assert controller.coefficient == pytest.approx(before * factor)


def test_the_coefficient_is_bounded():
    for kl, bound in ((1e9, 4.0), (-1e9, 0.0004)):
        controller = KlController(0.04, target=6.0)
        for _ in range(2000):
            controller.update(kl)
        assert controller.coefficient == pytest.approx(bound)


def test_without_a_target_the_coefficient_is_fixed():
    controller = KlController(0.04)
    controller.update(1e9)
    assert controller.coefficient == 0.04


def test_the_controller_resumes_and_refuses_nan():
    one = KlController(0.04, target=6.0)
    one.update(9.0)
    other = KlController(0.04, target=6.0)
    other.load_state_dict(one.state_dict())
    with pytest.raises(ValueError, match="not a number"):
        other.update(float("nan"))
    for controller in (one, other):
        controller.update(5.0)
    assert one.coefficient == other.coefficient
