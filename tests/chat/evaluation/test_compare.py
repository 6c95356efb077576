"""Pairs of answers, counted by hand."""

import io

import pytest
from rich.console import Console

from qwen_chat.evaluation import compare as comparing
from qwen_chat.evaluation.compare import compare
from qwen_chat.evaluation.tables import comparison_table, pair_rows, side_by_side
from qwen_chat.evaluation.tasks import DIALOGUES
from qwen_shared.evaluation.run import Result


def result(preferences, samples=1, **keys):
    rows = [
        {"task_id": str(i // samples), "sample": i % samples, "groups": {"kind": "a"}, "tokens": 2, "stopped": True}
        | {"messages": [{"role": "user", "content": f"q{i // samples}"}], "completion": f"{value} \x1b[31m"}
        | {"preference": float(value), "score": float(value > 0), "prompt": f"user: q{i // samples}"}
        | {key: values[i] for key, values in keys.items()}
        for i, value in enumerate(preferences)
    ]
    return Result(DIALOGUES, {}, {}, rows)


def test_wins_ties_and_losses():
    compared = compare(result([3, 2, 1, -1, 4]), result([1, 2, 2, -1, 0]), 1)
    metrics = compared.metrics["preference"]
    assert (metrics["wins"], metrics["ties"], metrics["losses"]) == (2, 2, 1)
    assert metrics["win_rate"] == (2 + 2 / 2) / 5
    assert metrics["win_rate_low"] < 0.6 < metrics["win_rate_high"]
    assert metrics["difference"] == pytest.approx((2 + 0 - 1 + 0 + 4) / 5)
    assert metrics["difference_low"] < 1 < metrics["difference_high"]
    assert metrics["difference_in_std"] == pytest.approx(1 / 1.16619, rel=1e-4)  # of 1, 2, 2, -1, 0
    assert compared.metrics["right"]["wins"] == 1 and "reward" not in compared.metrics
    assert compared.rows[0]["ours"]["preference"] == 3 and compared.rows[0]["theirs"]["preference"] == 1


def test_a_model_against_itself_is_even():
    metrics = compare(result([3, 2, 1]), result([3, 2, 1]), 1).metrics["preference"]
    assert metrics["win_rate"] == 0.5 and metrics["ties"] == 3
    assert metrics["difference"] == metrics["difference_low"] == metrics["difference_high"] == 0


def test_the_interval_of_the_difference_is_that_of_pairs():
    """A large spread over prompts that both models share does not widen it."""
    prompts = [0, 100, 200, 300, 400]
    ours = result([p + 1 for p in prompts])
    metrics = compare(ours, result(prompts), 1).metrics["preference"]
    assert metrics["difference_low"] == metrics["difference_high"] == 1
    assert metrics["win_rate"] == 1 and metrics["win_rate_low"] > 0.5


def test_several_answers_to_a_prompt_count_once():
    metrics = compare(result([3, 1, 2, 2], samples=2), result([1, 3, 1, 1], samples=2), 2).metrics["preference"]
    assert (metrics["wins"], metrics["losses"], metrics["win_rate"]) == (3, 1, 0.75)
    assert metrics["difference"] == 0.5


def test_other_prompts_are_refused():
    with pytest.raises(ValueError, match="same prompts"):
        compare(result([1, 2]), result([1, 2], samples=2), 1)


def test_samples_show_both_sides():
    compared = compare(
        result([3, 3, 3, 1, 2], reward=[0, 0, 0, 9, 0]), result([1, 1, 1, 1, 3], reward=[1, 1, 0, 0, 0]), 1
    )
    shown = comparing.samples(compared, 4)
    rewards = [(row["ours"]["reward"], row["theirs"]["reward"]) for row in shown]
    assert rewards == [(9, 0), (0, 1), (0, 1), (0, 0)]  # by the first measure: the win, the losses, a tie
    assert len(comparing.samples(compared, 50)) == 5


def test_control_characters_are_escaped_and_models_named():
    compared = compare(result([3, 2]), result([1, 3]), 1)
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(comparison_table(compared, "x against y"))
    console.print(side_by_side(compared, "runs/x", "runs/y"))
    text = console.export_text()
    assert "\x1b" not in text and "␛[31m" in text and "runs/y" in text
    assert "right answer" in text and max(map(len, text.splitlines())) <= 80
    row = pair_rows(compared)[1]
    assert row["prompt"] == "user: q1" and row["ours_preference"] == 2 and row["theirs_completion"].startswith("3")
    named = comparing.named("dialogues", "chat-sft-tiny", compared)
    assert named["eval/dialogues/against/chat-sft-tiny/preference/win_rate"] == 0.5
