"""Worked steps: every operation is reduced, always in the same way, to facts about single digits and tens.

A model that only sees 17+8 learns it by heart; one that sees 7+8=15, 15+10=25 can also do 37+8. Steps are a child's:
ones before tens, borrowing as 15-8 for 5-8, products by tens and ones, division by multiplication. They are short
because every token costs training time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from math_qwen.equations import check


def result(sign: str, a: int, b: int) -> int:
    return {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign]


@lru_cache(maxsize=1 << 16)
def steps(sign: str, a: int, b: int) -> tuple[str, ...]:
    """The equations that lead to `a sign b`, checked by sympy; the last right side is the result. Operands 0 to 999,
    results integers ≥ 0.
    """
    found = {"+": _sum, "-": _difference, "*": _product, "/": _quotient}[sign](a, b)
    whole = f"{a}{sign}{b}={result(sign, a, b)}"
    for equation in (*found, whole):
        if not check(equation).ok:
            raise ArithmeticError(f"{whole}: the step {equation} is wrong: {check(equation).reason}")
    return tuple(found)


def solution(operations: Sequence[tuple[str, int, int]]) -> str:
    lines = []
    for sign, a, b in operations:
        lines.append(f"{a}{sign}{b}")
        lines += [f"<<{equation}>>{equation.rpartition('=')[2]}" for equation in steps(sign, a, b)]
    return "\n".join(lines) + f"\n#### {result(*operations[-1])}"


def _sum(a: int, b: int) -> list[str]:
    if a < 10 and b < 10:
        return [f"{a}+{b}={a + b}"]
    ones = a % 10 + b % 10
    tens = "+".join(str(n - n % 10) for n in (a, b) if n >= 10)
    return [f"{a % 10}+{b % 10}={ones}", f"{ones}+{tens}={a + b}"]


def _difference(a: int, b: int) -> list[str]:
    if a < 10:
        return [f"{a}-{b}={a - b}"]
    from_ones = a % 10 if a % 10 >= b % 10 else a % 10 + 10  # the second borrows a ten
    ones = from_ones - b % 10
    first = f"{from_ones}-{b % 10}={ones}"
    tens, minus = a - from_ones, b - b % 10
    if not tens and not minus:
        return [first]
    return [first, f"{tens}-{minus}+{ones}={a - b}" if minus else f"{tens}+{ones}={a - b}"]


def _product(a: int, b: int) -> list[str]:
    for large, small, text in ((a, b, "{0}*{1}"), (b, a, "{1}*{0}")):
        if large >= 10 > small and large % 10:
            ones, tens = large % 10 * small, (large - large % 10) * small
            left, right = text.format(large % 10, small), text.format(large - large % 10, small)
            return [f"{left}={ones}", f"{right}={tens}", f"{tens}+{ones}={a * b}"]
    if a >= 10 and b >= 10 and a % 10 and b % 10:
        ones, tens = a * (b % 10), a * (b - b % 10)
        return [f"{a}*{b % 10}={ones}", f"{a}*{b - b % 10}={tens}", f"{tens}+{ones}={a * b}"]
    return [f"{a}*{b}={a * b}"]


def _quotient(a: int, b: int) -> list[str]:
    quotient = a // b
    tens, ones = quotient - quotient % 10, quotient % 10
    if not tens or not ones:
        return [f"{b}*{quotient}={a}", f"{a}/{b}={quotient}"]
    return [
        f"{b}*{tens}={b * tens}",
        f"{a}-{b * tens}={b * ones}",
        f"{b}*{ones}={b * ones}",
        f"{tens}+{ones}={quotient}",
    ]
