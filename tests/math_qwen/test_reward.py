"""The verifier as a reward."""

import pytest

from math_qwen.reward import verified


def test_right_is_one():
    completions = ["So it is \\boxed{0.5}.", "The answer is 3.", [{"role": "assistant", "content": "#### 1,234"}], ""]
    assert verified(["?"] * 4, completions, answer=["1/2", "2", "So 1234.\n#### 1234", "5"]) == [1.0, 0.0, 1.0, 0.0]


def test_other_names_of_the_column():
    assert verified(["?"], ["7"], gold=[7]) == [1.0]
    assert verified(["?"], ["7"], solution=["Thus $\\boxed{7}$."], level=[1]) == [1.0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"level": [1]}, "column `answer`.*columns: level"),
        ({"answer": ["1", "2"]}, "1 prompts, 1 completions, 2 in the column"),
        ({"answer": [None]}, "NoneType at 0"),
    ],
)
def test_mistakes(columns, message):
    with pytest.raises(ValueError, match=message):
        verified(["?"], ["1"], **columns)
    with pytest.raises(ValueError, match="completion 0"):
        verified(["?"], [5], answer=["1"])
