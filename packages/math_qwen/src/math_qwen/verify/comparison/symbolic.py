"""Proofs by sympy that two trees are equal. Only workers import this: sympy knows no time limit.

No text reaches sympy's parser. Symbols are real.
"""

from __future__ import annotations

import functools

import sympy
from sympy import Expr

from math_qwen.verify.comparison import algebra, polynomials
from math_qwen.verify.comparison.estimate import hash_name
from math_qwen.verify.limits import BITS, EXPONENT, FACTORIAL, TooLarge, Unparsable
from math_qwen.verify.parsing.trees import Tree

_FUNCTIONS = {
    "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan, "cot": sympy.cot, "sec": sympy.sec, "csc": sympy.csc,
    "arcsin": sympy.asin, "arccos": sympy.acos, "arctan": sympy.atan, "arccot": sympy.acot, "arcsec": sympy.asec,
    "arccsc": sympy.acsc, "sinh": sympy.sinh, "cosh": sympy.cosh, "tanh": sympy.tanh, "coth": sympy.coth,
    "sech": sympy.sech, "csch": sympy.csch, "arcsinh": sympy.asinh, "arccosh": sympy.acosh, "arctanh": sympy.atanh,
    "ln": sympy.log, "abs": sympy.Abs, "floor": sympy.floor, "ceil": sympy.ceiling, "sign": sympy.sign, "Re": sympy.re,
    "Im": sympy.im, "arg": sympy.arg,
}  # fmt: skip
_SIMPLIFY_OPS = 120  # beyond, sympy's simplify may take minutes
_POINTS = 8
_STEPS = (
    sympy.floor,
    sympy.ceiling,
    sympy.sign,
    sympy.Max,
    sympy.Min,
)  # constant between points, so numbers prove little


class Sympy:
    """The workers' prover."""

    def equal(self, a: Tree, b: Tree) -> bool:
        """Whether two values are equal, and real at the same points.

        Without a proof, agreement to 30 digits at three or more generic points counts. Raises TooLarge or Unparsable.
        """
        left, right = to_sympy(a), to_sympy(b)
        if left == right:
            return True
        if _infinite(left) or _infinite(right):
            return False
        agreed = _numbers_agree(left, right)
        if agreed is False:
            return False
        difference = sympy.expand(left - right)
        if difference.is_Rational:
            return bool(difference == 0)
        small = difference.count_ops() <= _SIMPLIFY_OPS
        if (
            small
            and difference.free_symbols
            and not difference.atoms(sympy.Function)
            and difference.is_rational_function()
        ):
            return bool(sympy.cancel(sympy.together(difference)) == 0)
        if agreed and not difference.has(*_STEPS) and not any(map(_extreme, difference.atoms(sympy.Rational))):
            return True
        return bool(small and sympy.simplify(difference) == 0)

    def constant(self, a: Tree, b: Tree) -> bool:
        difference = to_sympy(a) - to_sympy(b)
        return all(
            sympy.simplify(difference.diff(symbol)) == 0
            for symbol in sorted(difference.free_symbols, key=str)
            if difference.count_ops() <= _SIMPLIFY_OPS
        ) and (difference.count_ops() <= _SIMPLIFY_OPS)

    def proportional(self, a: Tree, b: Tree) -> int:
        """The sign of c if a = c·b, else 0."""
        left, right = to_sympy(a), to_sympy(b)
        if right == 0 or left == 0:
            return int(left == right)
        values = []
        names = sorted(left.free_symbols | right.free_symbols, key=str)
        for k in range(4):
            point = {symbol: _coordinate(symbol.name, k) for symbol in names}
            x, y = _number(left, point), _number(right, point)
            if x is not None and y is not None and abs(y) > 1e-12:
                values.append(x / y)
        if not values or any(abs(value - values[0]) > 1e-20 * (1 + abs(values[0])) for value in values):
            return 0
        if (left / right).count_ops() > _SIMPLIFY_OPS:
            return 0
        quotient = sympy.simplify(left / right)
        if quotient.free_symbols or not quotient.is_number or quotient.is_zero is not False:
            return 0
        return 1 if quotient.is_positive else -1 if quotient.is_negative else 0


def to_sympy(tree: Tree) -> Expr:
    """Raises TooLarge before sympy computes anything large, Unparsable if the tree has no value."""
    kind = tree[0]
    if kind == "num":
        return sympy.Rational(tree[1].numerator, tree[1].denominator)
    if kind == "sym":
        return sympy.Symbol(tree[1], real=True)
    if kind == "const":
        return {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "oo": sympy.oo}[tree[1]]
    if kind == "neg":
        return -to_sympy(tree[1])
    if kind == "add":
        return sympy.Add(*map(to_sympy, tree[1]))
    if kind == "mul":
        return sympy.Mul(*map(to_sympy, tree[1]))
    if kind == "div":
        below = to_sympy(tree[2])
        if below.is_zero:
            raise Unparsable("a division by zero")
        return to_sympy(tree[1]) / below
    if kind == "pct":
        return to_sympy(tree[1]) / 100
    if kind == "deg":
        return to_sympy(tree[1]) * sympy.pi / 180
    if kind == "pow":
        return _power(to_sympy(tree[1]), to_sympy(tree[2]))
    if kind == "root":
        inside = to_sympy(tree[1])
        if tree[2] % 2 and inside.is_number and inside.is_negative:
            return -sympy.root(-inside, tree[2])
        return sympy.root(inside, tree[2])
    if kind == "fn":
        return _function(tree[1], tree[2])
    if kind == "app":
        return sympy.Function("app " + tree[1])(*map(to_sympy, tree[2]))
    if kind == "big":
        number = polynomials.rational(algebra.ratio(tree))
        if number is not None:
            return sympy.Rational(number.numerator, number.denominator)
        _, name, variable, low, high, body = tree
        if variable:
            body = algebra.replaced(body, variable, ("sym", "·"))
        limits = [sympy.S.NaN if limit is None else to_sympy(limit) for limit in (low, high)]
        return sympy.Function("big " + name)(*limits, to_sympy(body))
    raise Unparsable(f"{kind} is no value")


def _power(base: Expr, exponent: Expr) -> Expr:
    if base.is_number and exponent.is_number:
        if base == 0 and not exponent.is_positive:
            raise Unparsable("a power of zero")
        if base.is_Rational and exponent.is_Rational:
            bits = max(int(base.p).bit_length(), int(base.q).bit_length())
            if abs(exponent) * bits > BITS:
                raise TooLarge("too large a power")
        elif abs(sympy.N(exponent, 15)) > 10_000:
            raise TooLarge("too large a power")
    elif (exponent.is_number and abs(sympy.N(exponent, 15)) > 10 * EXPONENT) or (
        base.is_Add and exponent.is_number and abs(sympy.N(exponent, 15)) > EXPONENT
    ):
        raise TooLarge("too large an exponent")
    return sympy.Pow(base, exponent)


def _function(name: str, arguments: tuple[Tree, ...]) -> Expr:
    if name in _FUNCTIONS and len(arguments) == 1:
        return _FUNCTIONS[name](to_sympy(arguments[0]))
    values = [to_sympy(argument) for argument in arguments]
    if name == "log":
        return sympy.log(*values) if len(values) == 1 or values[1] not in (0, 1) else _unknown()
    if name == "factorial" and len(values) == 1:
        if values[0].is_number and abs(sympy.N(values[0], 15)) > FACTORIAL:
            raise TooLarge("too large a factorial")
        return sympy.factorial(values[0])
    if name == "binom" and len(values) == 2:
        if any(value.is_number and abs(sympy.N(value, 15)) > FACTORIAL for value in values):
            raise TooLarge("too large a binomial")
        return sympy.binomial(*values)
    if name in ("max", "min") and len(values) <= 10:
        return (sympy.Max if name == "max" else sympy.Min)(*values)
    if name in ("gcd", "lcm") and all(value.is_Integer for value in values):
        return functools.reduce(sympy.gcd if name == "gcd" else sympy.lcm, values)
    return sympy.Function("fn " + name)(*values)


def _infinite(expression: Expr) -> bool:
    return bool(expression.has(sympy.oo, -sympy.oo, sympy.zoo, sympy.nan))


def _extreme(number: sympy.Rational) -> bool:
    """Whether the number may hide a difference from 40 digits."""
    return max(int(abs(number.p)).bit_length(), int(number.q).bit_length()) > 64


def _unknown() -> Expr:
    raise Unparsable("a logarithm to this base")


def _numbers_agree(left: Expr, right: Expr) -> bool | None:
    """True or False if numbers can tell, else None."""
    names = sorted(left.free_symbols | right.free_symbols, key=str)
    if not names:
        x, y = _number(left, {}), _number(right, {})
        if x is None or y is None:
            return None
        return bool(abs(x - y) <= 1e-30 * (1 + abs(x) + abs(y)))
    imaginary = left.has(sympy.I) or right.has(sympy.I)
    compared = 0
    for k in range(_POINTS):
        point = {symbol: _coordinate(symbol.name, k) for symbol in names}
        x, y = _number(left, point), _number(right, point)
        if x is None and y is None:
            continue
        if x is None or y is None:
            return None if left.has(sympy.Function("fn det")) else False
        if not imaginary:
            real_x, real_y = _is_real(x), _is_real(y)
            if not real_x and not real_y:
                continue
            if real_x != real_y:
                return False  # defined at different points
        if abs(x - y) > 1e-30 * (1 + abs(x) + abs(y)):
            return False
        compared += 1
    return True if compared >= 3 else None


def _coordinate(name: str, k: int) -> sympy.Rational:
    """Of any size and sign, never a special number."""
    seed = (hash_name(name) * 104729 + (k + 1) * 7919 * (k + 3)) % 99991
    scale = (1, 1, 3, 3, 11, 1, 40, 5)[k]
    sign = 1 if k in (0, 2, 4) else -1 if k in (1, 3) else (1 if seed % 2 else -1)
    return sympy.Rational(sign * scale * (2 * seed + 4001), 131071)


def _number(expression: Expr, point: dict) -> Expr | None:
    """40 digits, or None if it is no finite number."""
    value = expression.evalf(40, subs=point, maxn=400) if point else expression.evalf(40, maxn=400)
    if not value.is_number or (not value.is_comparable and not value.is_complex):
        return None
    if value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) or value.is_finite is False:
        return None
    re, im = value.as_real_imag()
    return value if re.is_Float or re.is_Integer or re.is_Rational or im.is_Float else None


def _is_real(value: Expr) -> bool:
    re, im = value.as_real_imag()
    return bool(abs(im) <= 1e-30 * (1 + abs(re)))
