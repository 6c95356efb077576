"""Decoding: prompts do not disturb each other, seeds decide, stop ids end."""

import pytest
import torch


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    return Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=8320,  # padded past the tokenizer's 8,192 ids
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            initializer_range=0.5,
        )
    ).eval()


@pytest.fixture(scope="module")
def tokenizer():
    from qwen_shared.tokenizer import load_tokenizer

    return load_tokenizer("default")


PROMPTS = [[5, 6, 7], [100] * 9, [42]]


def test_a_batch_gives_what_each_prompt_gives_alone(model, tokenizer):
    from qwen_shared.generation.decode import generate

    together = generate(model, tokenizer, PROMPTS, 12, temperature=0.0, seed=0)
    assert together == [generate(model, tokenizer, [p], 12, temperature=0.0, seed=0)[0] for p in PROMPTS]


def test_greedy_is_the_argmax_without_a_cache(model, tokenizer):
    from qwen_shared.generation.decode import generate

    (answer,) = generate(model, tokenizer, [[5, 6, 7]], 6, temperature=0.0, seed=0)
    tokens = [5, 6, 7]
    for _ in range(6):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1, : tokenizer.vocab_size].argmax()))
    assert answer == tokens[3:]


def test_the_seed_decides_and_padded_rows_are_never_drawn(model, tokenizer):
    from qwen_shared.generation.decode import generate

    first = generate(model, tokenizer, PROMPTS * 8, 20, temperature=2.0, seed=1)
    assert first == generate(model, tokenizer, PROMPTS * 8, 20, temperature=2.0, seed=1)
    assert first != generate(model, tokenizer, PROMPTS * 8, 20, temperature=2.0, seed=2)
    assert max(max(row) for row in first if row) < tokenizer.vocab_size


def test_what_follows_a_stop_id_is_cut(model, tokenizer, monkeypatch):
    from qwen_shared.generation.decode import generate

    (answer,) = generate(model, tokenizer, [[5, 6, 7]], 8, temperature=0.0, seed=0)
    monkeypatch.setattr(tokenizer, "stop_ids", (answer[3],))
    assert generate(model, tokenizer, [[5, 6, 7]], 8, temperature=0.0, seed=0) == [answer[: answer.index(answer[3])]]
