"""Which answers are the same in a vote, and who wins it."""

import pytest

from math_qwen.evaluation.votes import final_answer, majority_right


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so $\boxed{ \dfrac{3}{28} }$ .", r"\frac{3}{28}"),
        (r"\boxed{1} or rather \boxed{2}", "2"),
        ("<<3+4=7>>7\n#### 7", "7"),
        ("#### 7.0\nbecause", "7"),
        ("The answer is 1,250.", "1250"),
        ("答案是 12。", "12"),
        ("we get 3 * 4 = 12", "12"),
        ("#### Blue", "blue"),
        ("I do not know", ""),
    ],
)
def test_final_answer(text, answer):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("votes", "wins"),
    [
        ([("7", True), ("8", False), ("7.0", True)], True),
        ([("8", False), ("7", True), ("8", False)], False),
        ([("7", True), ("8", False)], True),  # of two as frequent the first
        ([("8", False), ("7", True)], False),
        ([("?", False), ("no idea", False), ("7", True)], True),  # what says nothing does not vote
        ([("?", False)], False),
        # One wrong answer in several spellings is one answer, as the right one is.
        ([(r"\boxed{1/2}", False), (r"\boxed{\frac{1}{2}}", False), ("3", True)], False),
        ([(r"\boxed{x+1}", False), (r"\boxed{1+x}", False), ("3", True), ("3.0", True), ("4", False)], False),
        ([(r"\boxed{x+1}", False), (r"\boxed{x+2}", False), ("3", True), ("3.0", True)], True),
    ],
)
def test_majority_right(votes, wins):
    assert majority_right([votes, [("1", True)]]) == [wins, True]
