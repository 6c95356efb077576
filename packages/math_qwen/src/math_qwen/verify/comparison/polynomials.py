"""Exact fractions of polynomials with rational coefficients.

Unknowns are symbols, √n for square-free n, π, e, i, and any other expression as an atom (sin x, 2^n, ∛5). Equal cross
products prove equality. Symbols, π (or e, not both), i and square roots are independent, so there unequal ones prove a
difference. Else the question stays open, for sympy.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from math_qwen.verify.limits import BITS, EXPONENT, TERMS, TooLarge, Unparsable, budget

Atom = tuple[Any, ...]
Monomial = tuple[tuple[Atom, int], ...]
Poly = dict[Monomial, Fraction]
Ratio = tuple[Poly, Poly]
ONE: Poly = {(): Fraction(1)}
IMAGINARY: Atom = ("i",)


def constant(value: Fraction) -> Ratio:
    return ({(): value} if value else {}, ONE)


def equal(a: Ratio, b: Ratio) -> bool | None:
    """None if neither is proved."""
    if a == b:
        return True
    difference = plus(a, negative(b))[0]
    if not difference:
        return True
    return False if _independent(difference) else None


def proportional(a: Ratio, b: Ratio) -> tuple[bool | None, Fraction | None]:
    """Whether a = c·b for a constant c ≠ 0 (None if not proved), and c if it is rational."""
    left, right = multiply(a[0], b[1]), multiply(b[0], a[1])
    if not left or not right:
        return (not left and not right), Fraction(1)
    if set(left) == set(right):
        first = next(iter(left))
        factor = left[first] / right[first]
        if all(left[m] == factor * right[m] for m in left):
            return True, factor
    if (
        _independent(left)
        and _independent(right)
        and all(atom[0] == "s" for p in (left, right) for m in p for atom, _ in m)
    ):
        return False, None
    return None, None


def rational(r: Ratio) -> Fraction | None:
    above, below = r
    if below is ONE or below == ONE:
        if not above:
            return Fraction(0)
        if len(above) == 1 and () in above:
            return above[()]
    return None


def symbols(r: Ratio) -> set[str]:
    return {name for p in r for m in p for atom, _ in m for name in _atom_symbols(atom)}


def plus(a: Ratio, b: Ratio) -> Ratio:
    if a[1] == b[1]:
        return _reduced(_add(a[0], b[0]), a[1])
    return _reduced(_add(multiply(a[0], b[1]), multiply(b[0], a[1])), multiply(a[1], b[1]))


def negative(a: Ratio) -> Ratio:
    return ({m: -c for m, c in a[0].items()}, a[1])


def times(a: Ratio, b: Ratio) -> Ratio:
    return _reduced(multiply(a[0], b[0]), multiply(a[1], b[1]))


def inverse(a: Ratio) -> Ratio:
    if not a[0]:
        raise Unparsable("a division by zero")
    return _reduced(a[1], a[0])


def multiply(a: Poly, b: Poly) -> Poly:
    if a is ONE or a == ONE:
        return b
    if b is ONE or b == ONE:
        return a
    if len(a) * len(b) > TERMS * 20:
        raise TooLarge("too many terms")
    budget.spend(len(a) * len(b))
    product: Poly = {}
    for m, c in a.items():
        for n, d in b.items():
            monomial, factor = _joined(m, n) if m and n else (m or n, 1)
            value = product.get(monomial, 0) + c * d * factor
            if value:
                product[monomial] = value
            else:
                product.pop(monomial, None)
    if len(product) > TERMS:
        raise TooLarge("too many terms")
    return product


def _add(a: Poly, b: Poly) -> Poly:
    budget.spend(len(a) + len(b))
    total = dict(a)
    for monomial, coefficient in b.items():
        value = total.get(monomial, 0) + coefficient
        if value:
            total[monomial] = value
        else:
            total.pop(monomial, None)
    if len(total) > TERMS:
        raise TooLarge("too many terms")
    return total


def _reduced(above: Poly, below: Poly) -> Ratio:
    """A single denominator term moves up."""
    if below is ONE or below == ONE:
        return above, ONE
    if len(below) == 1:
        ((monomial, coefficient),) = below.items()
        upside: list[tuple[Atom, int]] = []
        factor = 1 / coefficient
        for atom, power in monomial:
            if atom[0] == "r":  # 1/√n = √n/n
                factor /= atom[1]
                upside.append((atom, 1))
            elif atom == IMAGINARY:  # 1/i = -i
                factor = -factor
                upside.append((atom, 1))
            else:
                upside.append((atom, -power))
        return multiply(above, {tuple(upside): factor}), ONE
    return above, below


def _joined(m: Monomial, n: Monomial) -> tuple[Monomial, int]:
    """The product and its factor: i² = -1, √a·√b = g·√(ab/g²) with g = gcd(a, b)."""
    powers = dict(m)
    factor = 1
    surd = 1
    for atom, power in n:
        if atom[0] == "r":
            surd = atom[1]
        else:
            powers[atom] = powers.get(atom, 0) + power
    if surd != 1:
        mine = next((atom for atom in powers if atom[0] == "r"), None)
        if mine is None:
            powers[("r", surd)] = 1
        else:
            del powers[mine]
            common = math.gcd(mine[1], surd)
            factor *= common
            rest = mine[1] // common * (surd // common)
            if rest != 1:
                powers[("r", rest)] = 1
    if powers.get(IMAGINARY, 0) >= 2:
        powers[IMAGINARY] -= 2
        factor = -factor
    if any(abs(power) > 10 * EXPONENT for power in powers.values()):
        raise TooLarge("too large an exponent")
    return tuple(sorted((pair for pair in powers.items() if pair[1]), key=repr)), factor


def of_atom(atom: Atom) -> Ratio:
    return ({((atom, 1),): Fraction(1)}, ONE)


def freeze(r: Ratio) -> Any:
    return tuple(tuple(sorted(p.items(), key=repr)) for p in r)


def raised(base: Ratio, exponent: Ratio) -> Ratio:
    power = rational(exponent)
    if power is None:
        return of_atom(("pow", freeze(base), freeze(exponent)))
    if power.denominator == 1:
        return _whole_power(base, int(power))
    if power.denominator == 2 and abs(power) <= EXPONENT:
        return _whole_power(nth_root(base, 2), int(power * 2))
    return of_atom(("pow", freeze(base), freeze(exponent)))


def _whole_power(base: Ratio, power: int) -> Ratio:
    if power < 0:
        base, power = inverse(base), -power
    number = rational(base)
    if number is not None:
        if number in (0, 1, -1):
            if not number and not power:
                raise Unparsable("0^0")
            return constant(number ** (power % 2 if number == -1 else min(power, 1)))
        size = max(number.numerator.bit_length(), number.denominator.bit_length())
        if power * size > BITS:
            raise TooLarge("too large a power")
        budget.spend(power * size // 200)
        return constant(number**power)
    if len(base[0]) == 1 and base[1] == ONE:
        ((monomial, coefficient),) = base[0].items()
        if all(atom[0] not in ("r", "i") for atom, _ in monomial):
            if max(abs(p) for _, p in monomial) * power > 10 * EXPONENT:
                raise TooLarge("too large an exponent")
            if not power:
                return ONE, ONE
            scaled = rational(_whole_power(constant(coefficient), power))
            assert scaled is not None
            return {tuple((a, p * power) for a, p in monomial): scaled}, ONE
    if power > EXPONENT:
        raise TooLarge("too large an exponent")
    result, square = constant(Fraction(1)), base
    while power:
        if power & 1:
            result = times(result, square)
        power >>= 1
        if power:
            square = times(square, square)
        check_size(result, square)
    return result


def check_size(*ratios: Ratio) -> None:
    for r in ratios:
        for p in r:
            for c in p.values():
                budget.spend(c.numerator.bit_length() // 200)
                if c.numerator.bit_length() > BITS or c.denominator.bit_length() > BITS:
                    raise TooLarge("too large a number")


def nth_root(inside: Ratio, degree: int) -> Ratio:
    number = rational(inside)
    if number is None:
        return of_atom(("root", freeze(inside), degree))
    if not number:
        return constant(number)
    sign = number < 0
    if sign and degree % 2 == 0 and degree > 2:
        return of_atom(("root", freeze(inside), degree))
    number = abs(number)
    if degree > 2:
        above, below = _exact_root(number.numerator, degree), _exact_root(number.denominator, degree)
        if above is not None and below is not None:
            return constant(Fraction(-above if sign else above, below))
        result = of_atom(("root", freeze(constant(number)), degree))
        return negative(result) if sign else result  # the real root of a negative number
    # √(a/b) = √(ab)/b
    square, free = _square_free(number.numerator * number.denominator)
    scale = Fraction(square, number.denominator)
    monomial: list[tuple[Atom, int]] = []
    if sign:
        monomial.append((IMAGINARY, 1))
    if free != 1:
        monomial.append((("r", free), 1))
    return {tuple(monomial): scale}, ONE


def _exact_root(n: int, degree: int) -> int | None:
    if n.bit_length() > 4096:
        raise TooLarge("too large a root")
    low, high = 0, 1 << (n.bit_length() // degree + 1)
    while low < high:
        middle = (low + high) // 2
        if middle**degree < n:
            low = middle + 1
        else:
            high = middle
    return low if low**degree == n else None


def _square_free(n: int) -> tuple[int, int]:
    """a, b with n = a²·b, b square-free. Raises TooLarge if that takes long."""
    root = math.isqrt(n)
    if root * root == n:
        return root, 1
    budget.spend(1500)
    square, d = 1, 2
    rest, free = n, 1
    while d * d * d <= rest and d <= 3000:
        count = 0
        while rest % d == 0:
            rest //= d
            count += 1
        square *= d ** (count // 2)
        free *= d ** (count % 2)
        d += 1 if d == 2 else 2
    root = math.isqrt(rest)
    if root * root == rest:
        return square * root, free
    if d * d * d <= rest:
        raise TooLarge("too large a root")
    return square, free * rest


def _independent(p: Poly) -> bool:
    """No relation holds between the unknowns, so that only the polynomial 0 is 0."""
    constants = set()
    for monomial in p:
        for atom, _ in monomial:
            if atom[0] == "c":
                constants.add(atom[1])
            elif atom[0] not in ("s", "r", "i"):
                return False
    return len(constants) <= 1


def _atom_symbols(atom: Any) -> set[str]:
    if isinstance(atom, tuple):
        if len(atom) == 2 and atom[0] == "s" and isinstance(atom[1], str):
            return {atom[1]}
        return {name for part in atom for name in _atom_symbols(part)}
    return set()
