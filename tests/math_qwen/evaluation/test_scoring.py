"""Intervals against known values, the published rules."""

import math

import pytest

from math_qwen.evaluation.scoring import (
    last_number,
    loosely_equal,
    math401_error,
    wilson,
)


@pytest.mark.parametrize(
    ("right", "count", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962), (1, 3, 0.0615, 0.7923)],
)
def test_wilson(right, count, low, high):
    assert wilson(right, count) == pytest.approx((low, high), abs=1e-4)


def test_wilson_solves_its_own_equation():
    """Its ends are the shares from which the observed one is 1.96 standard errors away."""
    low, high = wilson(37, 120)
    for end in (low, high):
        assert abs(37 / 120 - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 120))


def test_wilson_of_nothing():
    assert wilson(0, 0) == (0.0, 1.0)


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
