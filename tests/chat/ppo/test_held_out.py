"""Paired gains, and answers in files."""

import pytest

from qwen_chat.ppo.held_out import gains, metrics, read_answers, write_answers


def test_gains_are_paired():
    before = [{"reward": float(i), "ended": True, "tokens": 3} for i in range(10)]
    after = [row | {"reward": row["reward"] + 1.0} for row in before]
    found = gains(before, after, ["reward"])
    assert found["gain/reward"] == pytest.approx(1.0)
    assert found["gain/reward_low"] == pytest.approx(found["gain/reward_high"])  # every one by the same
    assert found["gain_sd/reward"] == pytest.approx(1.0 / metrics(before, ["reward"])["val/reward_std"])


def test_answers_with_any_separator_come_back(tmp_path):
    rows = [
        {"prompt": [], "text": f"a{separator}b"} for separator in ("\n", "\u2028", "\u2029", "\u0085", "\r", "\x1c")
    ]
    write_answers(tmp_path / "answers.jsonl", rows)
    assert read_answers(tmp_path / "answers.jsonl") == rows


def test_one_prompt_has_no_interval():
    before, after = [{"reward": 1.0}], [{"reward": 2.0}]
    assert gains(before, after, ["reward"]) == {"gain/reward": 1.0}
