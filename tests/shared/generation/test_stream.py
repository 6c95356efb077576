"""One answer, token by token: the very ids that a batch would have got."""

from dataclasses import replace

import pytest
import torch

from qwen_shared.generation.decode import generate, generator, stream
from qwen_shared.generation.sampling import Sampling
from qwen_shared.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def model():
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = Qwen2Config(
        vocab_size=8320, num_key_value_heads=1, initializer_range=0.5, max_position_embeddings=64, **sizes
    )
    return Qwen2ForCausalLM(config).eval()


@pytest.fixture
def tokenizer(monkeypatch):
    """Every seventh id ends an answer."""
    tokenizer = load_tokenizer("default")
    monkeypatch.setattr(tokenizer, "stop_ids", tuple(range(0, 8192, 7)))
    return tokenizer


PROMPTS = [[5, 6, 7], [8] * 20, [9, 10], [11, 12, 13, 14], [700], [2000, 3000], [4000, 31], [17] * 3]


@pytest.mark.parametrize("sampling", [Sampling(20), Sampling(20, temperature=1.5, top_p=0.9, seed=3)])
def test_it_is_what_a_batch_gives(model, tokenizer, sampling):
    answers = generator(model, tokenizer)(PROMPTS, sampling, None)
    assert len({len(answer.ids) for answer in answers}) > 1
    for i, (prompt, answer) in enumerate(zip(PROMPTS, answers, strict=True)):
        assert list(stream(model, tokenizer, prompt, replace(sampling, first=i))) == answer.ids


def test_each_id_comes_when_it_is_there(model, tokenizer):
    (whole,) = generate(model, tokenizer, [[5, 6, 7]], Sampling(20))
    calls = []
    model.register_forward_pre_hook(hook := lambda *_: calls.append(1))
    try:
        answer = stream(model, tokenizer, [5, 6, 7], Sampling(20))
        for number, id in enumerate(answer, start=1):
            assert (id, len(calls)) == (whole.ids[number - 1], number)
            if number == 3:
                answer.close()  # nobody listens any more: nothing is computed
        assert len(calls) == 3
    finally:
        model._forward_pre_hooks.clear()
    assert hook


def test_it_ends_where_the_positions_do(model, tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "stop_ids", ())
    assert len(list(stream(model, tokenizer, [3] * 60, Sampling(20)))) == 4
    assert list(stream(model, tokenizer, [3] * 64, Sampling(20))) == []
    with pytest.raises(ValueError, match="at least one token"):
        list(stream(model, tokenizer, [], Sampling(20)))
