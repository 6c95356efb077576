"""Floating-point values of trees: they may show that two expressions differ, never that they are equal."""

from __future__ import annotations

import cmath
import math
import zlib

from math_qwen.verify.parsing.trees import Tree

_LARGEST = 1e6
_FUNCTIONS = {
    "sin": cmath.sin, "cos": cmath.cos, "tan": cmath.tan, "arcsin": cmath.asin, "arccos": cmath.acos,
    "arctan": cmath.atan, "ln": cmath.log, "sinh": cmath.sinh, "cosh": cmath.cosh, "tanh": cmath.tanh,
}  # fmt: skip


class IllConditioned(ArithmeticError):
    """No value, or one spoilt by rounding."""


def differ(a: Tree, b: Tree) -> bool:
    """False proves nothing."""
    for k in range(3):
        try:
            x, y = estimate(a, k), estimate(b, k)
        except (ArithmeticError, ValueError, RecursionError):
            continue
        if k and (abs(x.imag) > 1e-9 or abs(y.imag) > 1e-9):
            continue  # complex at this point: sympy compares the domains
        if abs(x - y) > 1e-5 * (1 + abs(x) + abs(y)):
            return True
    return False


def may_differ_by_constant(a: Tree, b: Tree) -> bool:
    """False if a - b differs between two points."""
    try:
        differences = [estimate(a, k) - estimate(b, k) for k in (0, 1)]
    except (ArithmeticError, ValueError, RecursionError):
        return True
    return abs(differences[0] - differences[1]) < 1e-6 * (1 + abs(differences[0]))


def estimate(tree: Tree, point: int = 0) -> complex:
    """With symbols at one of three fixed points. Raises ArithmeticError or ValueError."""
    value = _value(tree, point)
    if not abs(value) < _LARGEST:
        raise IllConditioned
    return value


def real(tree: Tree) -> float:
    """Raises ArithmeticError or ValueError, also for a symbol."""
    value = _value(tree, -1)
    if abs(value.imag) > 1e-9 or not math.isfinite(value.real):
        raise IllConditioned
    return value.real


def _value(tree: Tree, point: int) -> complex:
    kind = tree[0]
    if kind == "num":
        return complex(float(tree[1]))
    if kind == "sym":
        if point < 0:
            raise IllConditioned
        # The point depends on the name alone.
        seed = (hash_name(tree[1]) * (point + 1) * 7919) % 9973
        return complex((0.37 + seed / 9973 * 2.1) * (1, 1, -1)[point])
    if kind == "const":
        if tree[1] == "oo":
            raise IllConditioned
        return {"pi": complex(math.pi), "e": complex(math.e), "i": 1j}[tree[1]]
    if kind == "neg":
        return -_value(tree[1], point)
    if kind == "add":
        terms = [_value(term, point) for term in tree[1]]
        _bounded(max(terms, key=abs))
        return sum(terms)
    if kind == "mul":
        product = complex(1)
        for factor in tree[1]:
            product *= _value(factor, point)
        return _bounded(product)
    if kind == "div":
        return _bounded(_value(tree[1], point) / _large_enough(_value(tree[2], point)))
    if kind == "pct":
        return _value(tree[1], point) / 100
    if kind == "deg":
        return _value(tree[1], point) * math.pi / 180
    if kind == "pow":
        base, exponent = _value(tree[1], point), _value(tree[2], point)
        if abs(exponent) > 60:
            raise IllConditioned
        if exponent.imag == 0 and exponent.real.is_integer():
            return _bounded(
                base ** int(exponent.real) if exponent.real >= 0 else _large_enough(base) ** int(exponent.real)
            )
        return _bounded(_large_enough(base) ** exponent)
    if kind == "root":
        inside = _value(tree[1], point)
        if inside == 0:
            return inside
        _large_enough(inside)
        if inside.imag == 0 and inside.real < 0 and tree[2] % 2:
            return complex(-((-inside.real) ** (1 / tree[2])))
        return inside ** (1 / tree[2])
    if kind == "fn":
        return _function(tree[1], tree[2], point)
    raise IllConditioned


def _function(name: str, arguments: tuple[Tree, ...], point: int) -> complex:
    values = [_value(argument, point) for argument in arguments]
    if name == "abs":
        return complex(abs(values[0]))
    if name == "log" and len(values) == 2:
        return _bounded(cmath.log(_large_enough(values[0])) / _large_enough(cmath.log(_large_enough(values[1]))))
    if name == "log":
        name = "ln"
    if name in ("cot", "sec", "csc"):
        over = {"cot": cmath.tan, "sec": cmath.cos, "csc": cmath.sin}[name](values[0])
        return _bounded(1 / _large_enough(over))
    if name not in _FUNCTIONS or len(values) != 1:
        raise IllConditioned
    if name == "ln":
        _large_enough(values[0])
    if name in ("arcsin", "arccos") and (values[0].imag or abs(values[0].real) > 0.9999):
        raise IllConditioned
    if abs(values[0]) > 1e4:
        raise IllConditioned
    return _bounded(_FUNCTIONS[name](values[0]))


def hash_name(name: str) -> int:
    """Equal in every process."""
    return zlib.crc32(name.encode("utf-8", "surrogatepass"))


def _bounded(value: complex) -> complex:
    if not abs(value) < _LARGEST:
        raise IllConditioned
    return value


def _large_enough(value: complex) -> complex:
    if abs(value) < 1e-4:
        raise IllConditioned
    return value
