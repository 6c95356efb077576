"""Slices of the vocabulary give the result of the whole."""

import math

import pytest
import torch

from qwen_chat.ppo.math import probabilities
from qwen_chat.ppo.math.probabilities import entropy, log_probabilities


@pytest.fixture(params=[3, 8, 64])
def columns(request, monkeypatch):
    """A vocabulary of 8 in slices of 3, in one slice, and smaller than a slice."""
    monkeypatch.setattr(probabilities, "_COLUMNS", request.param)
    torch.manual_seed(0)


def test_equal_to_the_whole_softmax(columns):
    logits = (torch.randn(2, 5, 8, dtype=torch.float64) * 4).requires_grad_()
    labels = torch.randint(8, (2, 5))
    weights = torch.randn(2, 5, dtype=torch.float64)
    whole = logits.log_softmax(-1)
    torch.testing.assert_close(log_probabilities(logits, labels), whole.gather(-1, labels[..., None])[..., 0])
    torch.testing.assert_close(entropy(logits), -(whole.exp() * whole).sum(-1).detach())

    (expected,) = torch.autograd.grad((whole.gather(-1, labels[..., None])[..., 0] * weights).sum(), logits)
    (gradient,) = torch.autograd.grad((log_probabilities(logits, labels) * weights).sum(), logits)
    torch.testing.assert_close(gradient, expected)


def test_bf16_is_computed_in_fp32(columns):
    logits = (torch.randn(4, 8) * 4).bfloat16().requires_grad_()
    labels = torch.randint(8, (4,))
    result = log_probabilities(logits, labels)
    assert result.dtype == entropy(logits).dtype == torch.float32
    torch.testing.assert_close(result, logits.float().log_softmax(-1).gather(-1, labels[:, None])[:, 0])
    result.sum().backward()
    assert logits.grad.dtype == torch.bfloat16


def test_the_gradient_of_a_sure_token_survives_bf16():
    logits = torch.tensor([[7.0, 0.0, 0.0, 0.0]]).bfloat16().requires_grad_()
    log_probabilities(logits, torch.tensor([0])).sum().backward()
    expected = 1 - logits.detach().double().softmax(-1)[0, 0]
    assert logits.grad[0, 0].item() == pytest.approx(expected.item(), rel=1e-2)


def test_only_the_logits_are_kept(columns):
    """Nothing else of the vocabulary's size is saved for the backward pass."""
    kept = []
    logits = torch.randn(4, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        log_probabilities(logits, torch.zeros(4, dtype=torch.int64))
    assert [tensor.data_ptr() for tensor in kept if tensor.numel() > 4] == [logits.data_ptr()]


def test_forbidden_tokens_and_extremes(columns):
    logits = torch.full((1, 8), -torch.inf)
    logits[0, [1, 7]] = 1000.0  # where fp32 has steps of 6e-5
    assert entropy(logits).item() == pytest.approx(math.log(2), abs=1e-4)
    assert log_probabilities(logits, torch.tensor([7])).item() == pytest.approx(-math.log(2), abs=1e-4)
    assert log_probabilities(logits, torch.tensor([0])).item() == -math.inf
    assert entropy(torch.zeros(1, 8)).item() == pytest.approx(math.log(8))
