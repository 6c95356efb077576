"""Trees as fractions of polynomials: the exact algebra that most answers need, without sympy."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from math_qwen.verify.comparison.polynomials import (
    IMAGINARY,
    ONE,
    Ratio,
    check_size,
    constant,
    freeze,
    inverse,
    nth_root,
    of_atom,
    plus,
    raised,
    rational,
    times,
)
from math_qwen.verify.limits import BITS, FACTORIAL, SUM_TERMS, TooLarge, Unparsable, budget
from math_qwen.verify.parsing.trees import Tree


def ratio(tree: Tree) -> Ratio:
    """Raises TooLarge, or Unparsable without a value (0/0, a set)."""
    budget.spend(1)
    kind = tree[0]
    if kind == "num":
        return constant(tree[1])
    if kind == "sym":
        return ({((("s", tree[1]), 1),): Fraction(1)}, ONE)
    if kind == "const":
        if tree[1] == "oo":
            return of_atom(("oo",))
        return of_atom(IMAGINARY if tree[1] == "i" else ("c", tree[1]))
    if kind == "neg":
        above, below = ratio(tree[1])
        return ({m: -c for m, c in above.items()}, below)
    if kind == "add":
        total = constant(Fraction(0))
        for term in tree[1]:
            total = plus(total, ratio(term))
        return total
    if kind == "mul":
        total = constant(Fraction(1))
        for factor in tree[1]:
            total = times(total, ratio(factor))
        return total
    if kind == "div":
        return times(ratio(tree[1]), inverse(ratio(tree[2])))
    if kind == "pct":
        return times(ratio(tree[1]), constant(Fraction(1, 100)))
    if kind == "deg":
        return times(ratio(tree[1]), ({((("c", "pi"), 1),): Fraction(1, 180)}, ONE))
    if kind == "pow":
        return raised(ratio(tree[1]), ratio(tree[2]))
    if kind == "root":
        return nth_root(ratio(tree[1]), tree[2])
    if kind == "fn":
        return _function(tree[1], tree[2])
    if kind == "app":
        return of_atom(("app", tree[1], tuple(frozen(argument) for argument in tree[2])))
    if kind == "big":
        return _big(tree)
    raise Unparsable(f"{kind} is no value")


def frozen(tree: Tree) -> Any:
    """Hashable, and mostly the same for equal expressions."""
    try:
        above, below = ratio(tree)
    except Unparsable:
        return tree
    return freeze((above, below))


def _function(name: str, arguments: tuple[Tree, ...]) -> Ratio:
    if name == "log" and len(arguments) == 2 and arguments[1] == ("const", "e"):
        name, arguments = "ln", arguments[:1]
    values = [ratio(argument) for argument in arguments]
    numbers = [rational(value) for value in values]
    if None not in numbers and numbers:
        known = _number_function(name, [number for number in numbers if number is not None])
        if known is not None:
            return constant(known)
    return of_atom(("fn", name, tuple(freeze(value) for value in values)))


def _number_function(name: str, x: list[Fraction]) -> Fraction | None:
    whole = all(number.denominator == 1 for number in x)
    if name == "abs" and len(x) == 1:
        return abs(x[0])
    if name == "floor" and len(x) == 1:
        return Fraction(math.floor(x[0]))
    if name == "ceil" and len(x) == 1:
        return Fraction(math.ceil(x[0]))
    if name == "factorial" and len(x) == 1 and whole:
        if x[0] < 0:
            raise Unparsable("the factorial of a negative number")
        if x[0] > FACTORIAL:
            raise TooLarge("too large a factorial")
        budget.spend(int(x[0]))
        return Fraction(math.factorial(int(x[0])))
    if name == "factorial2" and len(x) == 1 and whole and 0 <= x[0] <= FACTORIAL:
        budget.spend(int(x[0]))
        return Fraction(math.prod(range(int(x[0]), 0, -2)))
    if name == "binom" and len(x) == 2 and whole and x[0] >= 0:
        if x[0] > FACTORIAL:
            raise TooLarge("too large a binomial")
        return Fraction(math.comb(int(x[0]), int(x[1]))) if x[1] >= 0 else Fraction(0)
    if name in ("max", "min"):
        return (max if name == "max" else min)(x)
    if name in ("gcd", "lcm") and whole:
        budget.spend(sum(number.numerator.bit_length() for number in x) // 20)
        value = (math.gcd if name == "gcd" else math.lcm)(*(int(number) for number in x))
        if value.bit_length() > BITS:
            raise TooLarge("too large a number")
        return Fraction(value)
    if name == "ln" and x == [1]:
        return Fraction(0)
    return None


def _big(tree: Tree) -> Ratio:
    """Finite sums and products are added up; others become atoms with their variable renamed."""
    _, name, variable, low, high, body = tree
    if name in ("sum", "prod") and variable and low is not None and high is not None:
        start, stop = rational(ratio(low)), rational(ratio(high))
        if start is not None and stop is not None and start.denominator == stop.denominator == 1:
            if stop - start > SUM_TERMS:
                raise TooLarge("too many terms to add up")
            total = constant(Fraction(0 if name == "sum" else 1))
            for k in range(int(start), int(stop) + 1):
                budget.spend(30)
                term = ratio(replaced(body, variable, ("num", Fraction(k))))
                total = plus(total, term) if name == "sum" else times(total, term)
                check_size(total)
            return total
    if variable:
        body = replaced(body, variable, ("sym", "·"))
    limits = tuple(None if limit is None else frozen(limit) for limit in (low, high))
    return of_atom(("big", name, limits, frozen(body)))


def replaced(tree: Any, name: str, value: Tree) -> Any:
    if not isinstance(tree, tuple):
        return tree
    if tree == ("sym", name):
        return value
    return tuple(replaced(part, name, value) for part in tree)
