"""Equations without annotation."""

import pytest

from math_qwen.prepare.plain_equations import plain_equations


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("48/2 = 24 and 3 + 4 = 7.", ["48/2 = 24", "3 + 4 = 7"]),
        ("8 square feet / 50 square feet * 100% = 16%", ["8 square feet / 50 square feet * 100% = 16%"]),
        ("2 miles / 1/6 hour = 12 miles", ["2 miles / 1/6 hour = 12"]),
        ("$1 / 2 = 50 cents", ["$1 / 2 = 50"]),
        ("13 / 6 = 2 with a remainder of 1", ["13 / 6 = 2"]),
        ("17/3 = 5 and 2/3 loads", ["17/3 = 5 and 2/3"]),
        ("250 x 12 = 3 000 grams", ["250 x 12 = 3 000"]),
        ("8+2(40)=88 apples", ["8+2(40)=88"]),
    ],
)
def test_plain_equations_are_found(text, expected):
    found = plain_equations(text)
    assert [text[p.start : p.end] for p in found] == expected
    assert all(p.check.ok for p in found)


@pytest.mark.parametrize(
    "text",
    ["3x + 5 = 20", "y = 12 + x", "x/2 + 5 = 10", "7 + x = 2 * x", "15 > 14", "a 5-4 score", "4:00 + 3 = 7:00", "= 5"],
)
def test_what_holds_a_letter_is_no_plain_equation(text):
    assert plain_equations(text) == []
