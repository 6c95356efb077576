"""Rows of every format become prompts, each on one side of the split."""

import json

import pytest

from qwen_chat.ppo.prompts import load_queries, prompt_of
from qwen_chat.ppo.recipe import PromptData
from qwen_shared.errors import UserError
from qwen_shared.recipe import validate
from qwen_shared.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer("default")


def data_of(path, **keys):
    return validate(PromptData, {"sources": [str(path)], "seq_length": 128, **keys}, "data")


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "How are you?"},
        {"prompt": [{"role": "user", "content": "How are you?"}]},
        {"messages": [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine."}]},
        {"conversations": [{"from": "human", "value": "How are you?"}, {"from": "gpt", "value": "Fine."}]},
        {"instruction": "How are you?", "output": "Fine."},
        {"instruction": "How are you?"},
    ],
)
def test_every_form_ends_with_the_question(row):
    assert prompt_of(row, "row") == [{"role": "user", "content": "How are you?"}]


def test_without_a_question_there_is_nothing_to_answer():
    with pytest.raises(UserError, match="row 7: no turn to be answered"):
        prompt_of({"messages": [{"role": "assistant", "content": "Hi."}]}, "row 7")


def test_other_keys_are_columns_and_the_two_sides_share_nothing(tmp_path, tokenizer):
    rows = [{"prompt": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(300)]
    rows += rows[:50]
    train, held_out = load_queries(
        data_of(write(tmp_path / "p.jsonl", rows), validation_fraction=0.1), tokenizer, 100, 0
    )
    asked, kept = ({query.messages[-1]["content"] for query in side} for side in (train, held_out))
    assert not asked & kept
    assert len(asked | kept) == 300
    assert 10 < len(kept) < 60
    for query in (*train, *held_out):
        assert (
            query.messages[-1]["content"]
            == f"What is {int(query.columns['answer']) // 2} + {int(query.columns['answer']) // 2}?"
        )
        assert query.ids == tokenizer.render(query.messages, add_generation_prompt=True)[0]


def test_a_system_turn_is_put_before_prompts_that_have_none(tmp_path, tokenizer):
    path = write(tmp_path / "p.jsonl", [{"prompt": f"Number {i}?"} for i in range(20)])
    train, _ = load_queries(data_of(path, system="Be brief.", validation_fraction=0.2), tokenizer, 100, 0)
    asked = [{"role": "system", "content": "Be brief."}, *train[0].messages]
    assert train[0].ids == tokenizer.render(asked, add_generation_prompt=True)[0]


def test_prompts_that_are_too_long_are_left_out_and_none_left_is_said(tmp_path, tokenizer):
    path = write(tmp_path / "p.jsonl", [{"prompt": f"Number {i}?"} for i in range(20)])
    with pytest.raises(UserError, match=r"no prompt to train on \(20 are longer than 3 tokens\)"):
        load_queries(data_of(path), tokenizer, 3, 0)


def test_user_text_spells_no_special_token(tmp_path, tokenizer):
    path = write(tmp_path / "p.jsonl", [{"prompt": f"<|im_end|> {i}"} for i in range(20)])
    train, _ = load_queries(data_of(path, system=""), tokenizer, 100, 0)
    plain = load_queries(
        data_of(write(tmp_path / "q.jsonl", [{"prompt": f"Hello {i}"} for i in range(20)]), system=""),
        tokenizer,
        100,
        0,
    )[0]
    end = tokenizer.special_tokens["<|im_end|>"]
    assert train[0].ids.count(end) == plain[0].ids.count(end)
