"""Decoding: prompts do not disturb each other, seeds decide, stop ids and stop texts end, the batch shrinks."""

import random

import pytest
import torch

from qwen_shared.generation.sampling import Completion, Sampling, truncate_at


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
            num_key_value_heads=1,
            initializer_range=0.5,
            max_position_embeddings=256,
        )
    ).eval()


@pytest.fixture(scope="module")
def tokenizer():
    from qwen_shared.tokenizer import load_tokenizer

    return load_tokenizer("default")


@pytest.fixture
def stopping(tokenizer, monkeypatch):
    """Every seventh id ends an answer: lengths then differ, and rows leave batches at all times."""
    monkeypatch.setattr(tokenizer, "stop_ids", tuple(range(0, 8192, 7)))
    return tokenizer


def prompts(count, seed=0):
    draw = random.Random(seed)
    return [[draw.randrange(8192) for _ in range(draw.randint(1, 30))] for _ in range(count)]


def test_a_batch_gives_what_each_prompt_gives_alone(model, stopping):
    from qwen_shared.generation.decode import generate

    asked = prompts(40) + prompts(3)  # three twice
    greedy = Sampling(20)
    together = generate(model, stopping, asked, greedy, batch_size=16)
    assert together == [generate(model, stopping, [p], greedy)[0] for p in asked]
    lengths = {len(answer.ids) for answer in together}
    assert len(lengths) > 5  # or this would not show that the batch shrinks
    assert all(answer.stopped == (len(answer.ids) < 20) for answer in together)


def test_greedy_is_the_argmax_without_a_cache(model, tokenizer):
    from qwen_shared.generation.decode import generate

    (answer,) = generate(model, tokenizer, [[5, 6, 7]], Sampling(6))
    tokens = [5, 6, 7]
    for _ in range(6):
        with torch.no_grad():
            tokens.append(int(model(torch.tensor([tokens])).logits[0, -1, : tokenizer.vocab_size].argmax()))
    assert answer == Completion(tokens[3:], stopped=False)


def test_greedy_is_what_transformers_generates(model, tokenizer):
    from qwen_shared.generation.decode import generate

    for prompt, answer in zip(prompts(5), generate(model, tokenizer, prompts(5), Sampling(10)), strict=True):
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            max_new_tokens=10,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            suppress_tokens=list(range(tokenizer.vocab_size, 8320)),
        )
        assert out[0, len(prompt) :].tolist() == answer.ids


@pytest.mark.parametrize("top_p", [1.0, 0.9])
def test_the_seed_and_the_place_decide_not_the_batch(model, stopping, top_p):
    from qwen_shared.generation.decode import generate

    asked = prompts(12) * 2
    sampling = Sampling(15, temperature=1.5, top_p=top_p, seed=1)
    first = generate(model, stopping, asked, sampling)
    assert first == generate(model, stopping, asked, sampling, batch_size=5)
    assert first[:4] == generate(model, stopping, asked[:4], sampling)
    assert first != generate(model, stopping, asked, Sampling(15, temperature=1.5, top_p=top_p, seed=2))
    assert first[:12] != first[12:]  # the same prompts in other places
    assert max(max(answer.ids) for answer in first if answer.ids) < stopping.vocab_size


def test_ids_are_drawn_as_often_as_they_are_likely():
    from qwen_shared.generation.decode import _Answer, _choose

    logits = torch.tensor([0.5, 0.0, 0.3, 0.2]).log()
    rows = [_Answer(i, [1], Sampling(1, temperature=1.0)) for i in range(4000)]
    counts = _choose(logits.expand(4000, -1), rows, Sampling(1, temperature=1.0)).bincount(minlength=4) / 4000
    assert torch.allclose(counts, torch.tensor([0.5, 0.0, 0.3, 0.2]), atol=0.03)
    nucleus = (
        _choose(logits.expand(4000, -1), rows, Sampling(1, temperature=1.0, top_p=0.7)).bincount(minlength=4) / 4000
    )
    assert torch.allclose(nucleus, torch.tensor([0.625, 0.0, 0.375, 0.0]), atol=0.03)
    (coldest,) = set(_choose(logits.expand(4000, -1), rows, Sampling(1, temperature=1e-300)).tolist())
    assert coldest == logits.argmax()
    (top,) = set(_choose(logits.expand(4000, -1), rows, Sampling(1, temperature=1.0, top_p=0.01)).tolist())
    assert top == 0


def test_a_draw_at_either_end_is_an_id_that_can_be():
    from qwen_shared.generation.decode import _Answer, _choose

    sampling = Sampling(1, temperature=1.0)
    row = _Answer(0, [1], sampling)
    logits = torch.full((1, 50_000), -1e9)
    logits[0, 100:40_000] = 0.0
    for draw in (0.0, 1.0 - 2**-53):
        row.draws[0] = draw
        assert 100 <= _choose(logits, [row], sampling).item() < 40_000


def test_what_follows_a_stop_id_is_cut(model, tokenizer, monkeypatch):
    from qwen_shared.generation.decode import generate

    (answer,) = generate(model, tokenizer, [[5, 6, 7]], Sampling(8))
    monkeypatch.setattr(tokenizer, "stop_ids", (answer.ids[3],))
    assert generate(model, tokenizer, [[5, 6, 7]], Sampling(8)) == [
        Completion(answer.ids[: answer.ids.index(answer.ids[3])], stopped=True, stop_id=answer.ids[3])
    ]


def test_a_stop_text_ends_also_where_it_is_spread_over_tokens(model, tokenizer):
    from qwen_shared.generation.decode import generate

    (answer,) = generate(model, tokenizer, [[5, 6, 7]], Sampling(12))
    whole = b"".join(map(tokenizer.token_bytes, answer.ids))
    text = whole.decode("utf-8", "ignore")
    stop = next(text[i : i + 6] for i in range(4, len(text)) if whole.count(text[i : i + 6].encode()) == 1)
    (cut,) = generate(model, tokenizer, [[5, 6, 7]], Sampling(12, stop_texts=("never", stop)))
    assert cut.stopped and cut.ids == answer.ids[: len(cut.ids)] and len(cut.ids) < 12
    assert stop not in tokenizer.decode(cut.ids[:-1]) and stop in tokenizer.decode(cut.ids)


def test_truncate_at_takes_the_first_of_the_stop_texts():
    assert truncate_at("a. Question: b\n\nc", ("\n\n", "Question:")) == "a. "
    assert truncate_at("a. b", ("\n\n", "Question:")) == "a. b"


def test_an_answer_ends_where_the_positions_do(model, tokenizer):
    from qwen_shared.generation.decode import generator

    answers = generator(model, tokenizer)([[3] * 250, [3] * 256, [3] * 300, [4]], Sampling(9), None)
    assert [len(answer.ids) for answer in answers] == [6, 0, 0, 9]
    assert not any(answer.stopped for answer in answers)


def test_progress_ends_with_all(model, stopping):
    from qwen_shared.generation.decode import generate

    seen = []
    generate(model, stopping, prompts(9), Sampling(10), batch_size=4, progress=lambda *at: seen.append(at))
    assert seen == sorted(seen) and seen[-1] == (9, 9)


def test_nothing_asked_and_nothing_to_read(model, tokenizer):
    from qwen_shared.generation.decode import generate

    assert generate(model, tokenizer, [], Sampling(4)) == []
    with pytest.raises(ValueError, match="at least one token"):
        generate(model, tokenizer, [[1], []], Sampling(4))
    with pytest.raises(ValueError, match="not a way to sample"):
        Sampling(0)
