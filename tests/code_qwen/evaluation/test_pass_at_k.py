"""The estimate against the definition, by counting."""

import math
from fractions import Fraction
from itertools import combinations

import pytest

from code_qwen.evaluation.pass_at_k import pass_at_k


def test_it_is_the_share_of_draws_with_a_passing_answer():
    for n in range(1, 8):
        for c in range(n + 1):
            answers = [i < c for i in range(n)]
            for k in range(1, n + 1):
                draws = [any(draw) for draw in combinations(answers, k)]
                assert pass_at_k(n, c, k) == pytest.approx(sum(draws) / len(draws), abs=1e-15)


@pytest.mark.parametrize("n", [20, 200, 1000])
def test_it_is_exact_where_binomials_are_huge(n):
    for c in (0, 1, 2, n // 3, n - 2, n - 1, n):
        for k in (1, 2, 10, n // 2, n):
            exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
            assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-12, abs=1e-15)


def test_it_is_unbiased():
    """Its mean over all ways that each of n answers passes with chance p is 1 - (1 - p)^k."""
    p, n, k = 0.3, 12, 5
    mean = sum(math.comb(n, c) * p**c * (1 - p) ** (n - c) * pass_at_k(n, c, k) for c in range(n + 1))
    assert mean == pytest.approx(1 - (1 - p) ** k)


def test_one_sample_is_plain_pass_at_1():
    assert pass_at_k(1, 1, 1) == 1.0 and pass_at_k(1, 0, 1) == 0.0


@pytest.mark.parametrize(("n", "c", "k"), [(3, 4, 1), (3, -1, 1), (3, 1, 0), (3, 1, 4)])
def test_what_cannot_be_drawn(n, c, k):
    with pytest.raises(ValueError, match=f"pass@{k} of {n} samples"):
        pass_at_k(n, c, k)
