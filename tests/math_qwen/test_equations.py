"""The checker of `<<…>>` equations."""

import random
import time
from fractions import Fraction

import pytest

from math_qwen.equations import NotArithmetic, check, decimal_text, distinct_key, equations, normalised, value


@pytest.mark.parametrize(
    ("equation", "reason"),
    [
        ("48/2=24", "exact"),
        ("2*3=6.0", "exact"),
        (".5*4=2", "exact"),
        ("1,000+1=1,001", "exact"),
        ("1/2*4=2", "exact"),
        ("1 1/2*4=6", "exact"),
        ("½*4=2", "exact"),
        ("3½*2=7", "exact"),
        ("2x3=6", "exact"),
        ("2 × 3 = 6", "exact"),
        ("6÷2=3", "exact"),
        ("(2)(3)=6", "exact"),
        ("$5*2=$10", "exact"),
        ("-2^2=-4", "exact"),
        ("2^3^2=512", "exact"),
        ("2^-1=0.5", "exact"),
        ("20%*50=10", "exact"),
        ("25/100=25%", "exact"),
        ("2*3=6=12/2", "exact"),
        ("30/60*100=50%", "exact, % as a unit"),
        ("10/3=3.33", "rounded"),
        ("10/3=3.3", "rounded"),
        ("-10/3=-3.33", "rounded"),
        ("1/8=0.13", "rounded"),
        ("1/3=33.3%", "rounded"),
        ("10/3=3.3331", "within 0.001"),
    ],
)
def test_true(equation, reason):
    found = check(equation)
    assert (found.ok, found.reason, found.corrected) == (True, reason, None)


@pytest.mark.parametrize(
    ("equation", "corrected"),
    [
        ("5*4=21", "20"),
        ("10/3=3", "3.33"),  # an integer is never rounded
        ("2/3=0.66", "0.67"),
        ("10/4=2", "2.5"),
        ("1=1=2", "1"),
        ("1=2=2", None),  # either link may be wrong
        ("5*4=", "20"),
        ("5*4", "20"),
    ],
)
def test_false_or_incomplete(equation, corrected):
    found = check(equation)
    assert (found.ok, found.corrected) == (False, corrected)


@pytest.mark.parametrize(
    "equation",
    [
        "",
        "=",
        "5*4=20 apples",
        "x+5=10",
        "560//10=56",
        "5 5=25",
        "1.5.2=3",
        "12,34=5",
        "5/0=1",
        "0^-1=1",
        "2^0.5=1.4",
        "2^100=1",
        "9^9^9=1",
        "(((1)=1",
        "1)=1",
        "9" * 41 + "=1",
        "(" * 100_000,
        "-" * 200 + "1=1",
        "(" * 31 + "1" + ")" * 31 + "=1",
        "((9^64)^64)^64=1",
        "__import__('os').system('x')=1",
        "1e9=1000000000",
        "5!=120",
        "\0=0",
        "٣=3x",
    ],
)
def test_no_arithmetic_is_refused_with_a_reason(equation):
    start = time.process_time()
    found = check(equation)
    assert not found.ok
    assert found.reason.startswith("not arithmetic: ")
    assert time.process_time() - start < 5


def test_value_equals_python_fractions_on_random_expressions():
    """Precedence and signs, against Python on exact fractions."""
    rng = random.Random(0)

    def expression(depth: int) -> tuple[str, Fraction]:
        if depth == 0 or rng.random() < 0.2:
            n = rng.randint(1, 99)
            text = f"{n / 10:g}" if rng.random() < 0.3 else str(n)
            return text, Fraction(text)
        (a, x), (b, y) = expression(depth - 1), expression(depth - 1)
        sign = rng.choice("+-*/")
        if sign == "/" and y == 0:
            sign = "+"
        return f"({a}) {sign} ({b})", {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else x}[sign]

    for _ in range(500):
        text, expected = expression(4)
        if len(text) > 250:
            continue
        found = value(text)
        assert Fraction(int(found.p), int(found.q)) == expected, text
        flat = "".join(rng.choice("+-*") + str(rng.randint(1, 20)) for _ in range(6)).lstrip("*")
        assert int(value(flat)) == int(sum_of(flat)), flat


def sum_of(flat: str) -> int:
    """`-3*4+5` without parentheses: products first."""
    total = 0
    for term in flat.replace("-", "+-").split("+"):
        if term:
            product = 1
            for factor in term.split("*"):
                product *= int(factor)
            total += product
    return total


def test_equations_stand_between_the_marks_in_order():
    assert equations("a <<1+1=2>>2, <<2*2=4>>4\n#### 4") == ["1+1=2", "2*2=4"]
    assert equations("none") == []


def test_distinct_key_knows_spelling_from_path():
    assert distinct_key("<<2 x 3 = 6>>6 <<1,000*.5=500.0>>") == distinct_key("<<2*3=6>>6\n<<1000*0.50=500>>500")
    assert distinct_key("<<2*3=6>>") != distinct_key("<<3*2=6>>")
    assert distinct_key("<<6/.5=12>>") != distinct_key("<<6/1/2=3>>")
    assert normalised("no arithmetic = 5") == "noarithmetic=5"


def test_written_rounds_half_up_and_keeps_what_is_exact():
    assert [decimal_text(value(t), None) for t in ("24", "1/4", "1/3", "-2/3", "1/64")] == [
        "24", "0.25", "0.33", "-0.67", "0.015625",
    ]  # fmt: skip


def test_value_of_no_arithmetic_raises():
    with pytest.raises(NotArithmetic):
        value("five")
