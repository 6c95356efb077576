"""Intervals against known values, breakdowns."""

import math

import pytest

from qwen_shared.evaluation.metrics import by_group, parts, share_with_interval, wilson


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


def test_parts():
    assert parts([1, 2, 3, 4, 5, 6], 3) == [[1, 2, 3], [4, 5, 6]]


def test_the_interval_counts_problems():
    rows = [{"score": score} for score in (1.0, 0.0, 1.0, 1.0)]
    found = share_with_interval("pass@1", rows, samples=2)
    assert found["pass@1"] == 0.75 and (found["pass@1_low"], found["pass@1_high"]) == wilson(1.5, 2)


def test_by_group():
    groups = [{"family": "a", "level": "1"}, {"family": "b", "level": "1"}, {"family": "a", "level": "1"}]
    assert by_group(groups, [1.0, 0.0, 0.5], sum) == {"family": {"a": 1.5, "b": 0.0}}  # one level is no breakdown
    assert by_group([{"id": str(i)} for i in range(41)], [1.0] * 41, sum) == {}  # nor are very many values
