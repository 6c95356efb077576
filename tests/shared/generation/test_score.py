"""Scoring: the same figure whatever the batch, equal to a plain sum over tokens."""

import itertools
import math

import numpy as np
import pytest
import torch


class Text:
    """Held-out text of random tokens, as ValidationText serves it: the last window is filled up and masked."""

    seq_length, num_windows, num_bytes = 16, 5, 300

    def __init__(self):
        self.tokens = np.random.default_rng(0).integers(0, 50, 5 * 16 + 1)

    def window(self, j):
        piece = self.tokens[j * 16 : j * 16 + 17]
        every = np.ones(16, np.float32)
        if j == 4:
            every[10:] = 0
        return piece[:-1], piece[1:], every * (piece[:-1] != 3), every


@pytest.mark.parametrize("at_once", [16, 48, 8192])
def test_sums_over_tokens(at_once, monkeypatch):
    from qwen_shared.generation import score

    monkeypatch.setattr(score, "_TOKENS_AT_ONCE", at_once)
    table = torch.randn(50, 50, generator=torch.Generator().manual_seed(0))

    class Model:
        def __call__(self, tokens):
            return type("Output", (), {"logits": table[tokens]})

    text, nll, count, every = Text(), 0.0, 0, 0.0
    log_p = table.double().log_softmax(-1)
    for j in range(5):
        tokens, labels, loss_mask, all_mask = text.window(j)
        for a, b, m, n in zip(tokens, labels, loss_mask, all_mask, strict=True):
            nll -= m * log_p[a, b].item()
            every -= n * log_p[a, b].item()
            count += m
    got = score.score_text(Model(), text)
    assert got["loss"] == pytest.approx(nll / count, rel=1e-6)
    assert got["perplexity"] == pytest.approx(math.exp(nll / count), rel=1e-5)
    assert got["bits_per_byte"] == pytest.approx(every / math.log(2) / 300, rel=1e-6)


@torch.no_grad()
def test_isolated_documents_are_scored_each_by_itself():
    """transformers is told by positions where documents begin, and then it is as if each were the whole input."""
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from qwen_shared.generation.score import score_text

    text = Text()
    text.eod_id = 3
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.3,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).eval()
    nll = count = 0.0
    for j in range(text.num_windows):
        tokens, labels, loss_mask, _ = text.window(j)
        ends = [0, *(np.flatnonzero(tokens[:-1] == 3) + 1).tolist(), 16]
        for a, b in itertools.pairwise(ends):  # each document by itself
            log_p = model(torch.from_numpy(tokens[None, a:b])).logits[0].double().log_softmax(-1)
            for i in range(a, b):
                nll -= loss_mask[i] * log_p[i - a, labels[i]].item()
                count += loss_mask[i]
    isolated = score_text(model, text, isolate_documents=True)["loss"]
    assert isolated == pytest.approx(nll / count, rel=1e-5)
    assert abs(score_text(model, text)["loss"] - isolated) > 1e-3
