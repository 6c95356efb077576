"""The published rules."""

import pytest

from math_qwen.evaluation.scoring import last_number, loosely_equal, math401_error


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 39.", 39),
        ("12*8 = 96, 96 - 57 = 39", 39),
        ("it is -4.5", -4.5),
        ("10-3", 3),
        ("10 -3", -3),
        ("$1,234.50 in all", 1234.5),
        ("一共有81棵", 81),
        ("答案是-7。", -7),
        (".5", 0.5),
        ("2e3", 2000),
        ("3 apples and 4", 4),
        ("x2", 2),
        ("none", None),
        ("", None),
    ],
)
def test_last_number(text, number):
    assert last_number(text) == number


def test_the_published_rule_of_gsm8k():
    assert loosely_equal("#### 1,000", "So it is 1000.00005")
    assert not loosely_equal("72", "72.001")
    assert not loosely_equal("72", "seventy-two")


def test_math401_measures():
    assert math401_error("0.5000", "sin(30°) = 0.5004") == pytest.approx((4e-4, 4e-4))
    assert math401_error("200", "100") == (100, 0.5)
    assert math401_error("1", "1000") == (999, 10)
    assert math401_error("1", "I cannot say") is None
    assert math401_error("1", "9" * 400) is None
