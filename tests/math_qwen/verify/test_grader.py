"""Verdicts, kind by kind; and every shortcut against sympy."""

import random

import pytest

from math_qwen.verify import Outcome, same_answer, verify
from math_qwen.verify.comparison.symbolic import Sympy
from math_qwen.verify.comparison.values import NeedsProof
from math_qwen.verify.grader import grade_response

from .cases import structures, values, wide_mixed, wide_structures, wide_texts, wide_values

TABLES = {
    f"{module.__name__.rsplit('.', 1)[1]}.{name}": getattr(module, name)
    for module in (values, structures, wide_values, wide_structures, wide_texts, wide_mixed)
    for name in dir(module)
    if name.isupper() and len(name) > 1
}

_MEANINGLESS = ("1/0", "5/0", r"\frac{1}{0}", r"\frac{0}{0}", "\\")


@pytest.fixture(scope="module")
def prover():
    return Sympy()


@pytest.mark.parametrize("table", TABLES)
def test_pairs(table, prover):
    wrong = []
    for gold, prediction, expected in TABLES[table]:
        verdict = grade_response(gold, prediction, prover)
        if verdict.right != expected:
            wrong.append((gold, prediction, expected, verdict.reason))
    assert not wrong


@pytest.mark.parametrize("table", ["values.NUMBERS", "values.SURDS_COMPLEX_FUNCTIONS", "values.EXPRESSIONS"])
def test_sameness_has_no_direction(table, prover):
    for gold, prediction, expected in TABLES[table]:
        if prediction.strip() and "," not in gold + prediction:  # 1,5: 1.5 in an answer, a list in gold
            assert grade_response(prediction, gold, prover).right == expected, (prediction, gold)


def test_every_answer_is_the_same_as_itself(prover):
    for table in TABLES.values():
        for gold, _, _ in table:
            if gold not in _MEANINGLESS and "\\boxed{}" not in gold:
                assert grade_response(gold, gold, prover).right, gold


@pytest.mark.parametrize(
    ("gold", "prediction", "reason"),
    [
        ("1/2", "0.5", "0.5 equals 1/2"),
        ("5 m", "5 cm", "other unit: cm, gold has m"),
        ("5", "5 or 6", "2 answers, gold has 1"),
        ("5", "The answer is not 5.", "the answer is denied"),
        ("5", "\\boxed{}", "empty box"),
        ("5", "", "empty response"),
        ("[1,2]", "(1,2)", "(1,2) is not [1,2]"),
    ],
)
def test_reasons(gold, prediction, reason):
    assert verify(gold, prediction).reason == reason


def test_what_cannot_be_read_is_told():
    assert verify("5", "5 + * = )").outcome is Outcome.UNPARSABLE
    assert verify("", "5").outcome is Outcome.UNPARSABLE
    assert verify("7", "9^{9^{9^{9}}}").outcome is Outcome.UNPARSABLE


def test_same_answer_looks_for_nothing():
    assert same_answer("1/2", "0.5")
    assert same_answer("(x+1)^2", "x^2+2x+1")
    assert not same_answer("5", "The answer is 5.")
    assert not same_answer("5", "")


def test_types_are_checked():
    with pytest.raises(TypeError, match="int"):
        verify(5, "5")
    for timeout in (0, -1, float("nan"), float("inf"), 1e9):
        with pytest.raises(ValueError, match="timeout"):
            verify("5", "5", timeout=timeout)


@pytest.mark.parametrize("count", [1_000, pytest.param(10_500, marks=pytest.mark.slow)])
def test_shortcuts_agree_with_sympy(prover, count):
    """A verdict without sympy is sympy's verdict."""
    draw = random.Random(7)
    decided = right = 0
    for _ in range(count):
        gold, prediction = _pair(draw)
        try:
            quick = grade_response(gold, prediction)
        except NeedsProof:
            continue
        decided += 1
        right += quick.right
        assert grade_response(gold, prediction, prover, shortcuts=False).right == quick.right, (gold, prediction)
    assert decided > 0.9 * count
    assert right > 0.2 * count


def _pair(draw: random.Random) -> tuple[str, str]:
    a, b, c = (draw.randint(1, 12) for _ in range(3))
    d = draw.choice((b, b, b + 1, -b))
    kind = draw.randrange(10)
    if kind == 0:
        return str(a * b), f"{a * d}.0"
    if kind == 1:
        return f"{a}/{b}", f"\\frac{{{a * c}}}{{{abs(d) * c}}}"
    if kind == 2:
        return f"{a / 4}", f"\\frac{{{a}}}{{{4 if d == b else 8}}}"
    if kind == 3:
        return f"{a}\\sqrt{{{b}}}", f"\\sqrt{{{a * a * abs(d)}}}"
    if kind == 4:
        return f"(x+{a})(x-{b})", f"x^2+({a}-({d}))x-{a * b}"
    if kind == 5:
        return f"\\frac{{{a}\\pi}}{{{b}}}", f"{a * c}\\pi/{abs(d) * c}"
    if kind == 6:
        return f"{a}+{b}i", f"{d}i+{a}"
    if kind == 7:
        return (
            f"\\frac{{1}}{{{a}+\\sqrt{{{b * b + 1}}}}}",
            f"\\frac{{\\sqrt{{{d * d + 1}}}-{a}}}{{{b * b + 1 - a * a or 1}}}",
        )
    if kind == 8:
        return f"{a}^{{{b % 5}}}", str(a ** (abs(d) % 5))
    return f"\\frac{{x+{a}}}{{x-{b}}}", f"1+\\frac{{{a + b}}}{{x-{abs(d)}}}"


def test_a_fault_in_the_callers_process_is_left_to_a_worker(monkeypatch):
    def fault(*_):
        raise KeyError

    monkeypatch.setattr("math_qwen.verify.grade_response", fault)
    assert verify("1/2", "0.5", timeout=60).right
