"""Conditions on a number and operations with a number: in words, as code, and computed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from random import Random

COMPARISONS = (">", "<", ">=", "<=")
PARITIES = ("even", "odd")

CONDITIONS = {
    "en": {
        ">": ("greater than {v}", "above {v}"),
        "<": ("less than {v}", "below {v}"),
        ">=": ("at least {v}",),
        "<=": ("at most {v}",),
        "==": ("equal to {v}",),
        "!=": ("not equal to {v}",),
        "%": ("divisible by {v}",),
        "even": ("even",),
        "odd": ("odd",),
    },
    "zh": {
        ">": ("大于{v}", "超过{v}"),
        "<": ("小于{v}", "低于{v}"),
        ">=": ("不小于{v}",),
        "<=": ("不大于{v}",),
        "==": ("等于{v}",),
        "!=": ("不等于{v}",),
        "%": ("能被{v}整除",),
        "even": ("为偶数",),
        "odd": ("为奇数",),
    },
}
OPERATIONS = {
    "en": {
        "+": ("plus {k}", "increased by {k}"),
        "-": ("minus {k}", "decreased by {k}"),
        "*": ("times {k}", "multiplied by {k}"),
        "//": ("floor-divided by {k}",),
        "%": ("modulo {k}",),
        "**": ("to the power of {k}",),
    },
    "zh": {
        "+": ("加{k}", "加上{k}"),
        "-": ("减{k}", "减去{k}"),
        "*": ("乘以{k}",),
        "//": ("整除以{k}",),
        "%": ("对{k}取余",),
        "**": ("取{k}次方",),
    },
}

_COMPUTED: dict[str, Callable[[int, int], int]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "**": operator.pow,
}


def condition_code(x: str, op: str, v: int | None) -> str:
    if op in PARITIES:
        return f"{x} % 2 == {PARITIES.index(op)}"
    return f"{x} % {v} == 0" if op == "%" else f"{x} {op} {v}"


def holds(n: int, op: str, v: int | None) -> bool:
    if op in PARITIES:
        return bool(n & 1) == (op == "odd")
    if v is None:
        raise ValueError(f"condition {op} needs a number")
    return n - n // v * v == 0 if op == "%" else bool(_COMPUTED[op](n, v))


def operation(n: int, op: str, k: int) -> int:
    return n - n // k * k if op == "%" else _COMPUTED[op](n, k)


def numbers_near(op: str, v: int | None) -> list[int]:
    """They distinguish a condition from one with another operator or number."""
    if v is None:
        return [1, 2, 3, 4, 7, 10]
    divisors = [d for d in range(1, v) if v % d == 0] if op == "%" else []
    return sorted({v - 1, v, v + 1, 0, -v, 2 * v, 3 * v + 1, *divisors})


def lists_near(rng: Random, op: str, v: int | None) -> list[list[int]]:
    """Likewise: single border values, which no larger number hides, mixed lists, and the empty list."""
    near = numbers_near(op, v)
    alone: Sequence[int] = near[:3] if v is None else (v - 1, v, v + 1)
    mixed = [rng.sample(near, len(near)), [rng.randrange(2 * (v or 10)) for _ in range(7)]]
    several = [n for n in range(1, 200) if holds(n, op, v)][2::-1]  # with different sum, maximum and minimum
    below = [list(range(1, v))] if op == "%" and v is not None else []
    return [[], *([n] for n in alone), *mixed, several, *below]
