"""Sets of real numbers as sorted intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from math_qwen.verify.comparison import algebra, estimate, polynomials
from math_qwen.verify.limits import Unparsable
from math_qwen.verify.parsing.trees import Tree, has

_LOW: Tree = ("neg", ("const", "oo"))
_HIGH: Tree = ("const", "oo")
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


@dataclass(frozen=True)
class Interval:
    low: Tree
    low_closed: bool
    high: Tree
    high_closed: bool


@dataclass(frozen=True)
class Region:
    variable: str | None
    intervals: tuple[Interval, ...]


ALL = Region(None, (Interval(_LOW, False, _HIGH, False),))
EMPTY = Region(None, ())


def is_region(tree: Tree) -> bool:
    """Whether the tree means a set of reals, even if it could also be a point or a list."""
    kind = tree[0]
    if kind in ("union", "inter", "minus", "builder"):
        return True
    if kind == "named":
        return True
    if kind == "rel":
        return any(operator in ("<", ">", "<=", ">=", "!=", "in", "notin") for operator in tree[1][1::2])
    if kind == "seq" and len(tree[2]) == 2:
        return (tree[1], tree[3]) != ("(", ")") or any(_infinite(end) for end in tree[2])
    if kind in ("and", "or", "list"):
        return all(is_region(part) for part in tree[1]) and any(part[0] in ("rel", "union") for part in tree[1])
    return False


def region(tree: Tree) -> Region | None:
    """None if the tree is no such set."""
    kind = tree[0]
    try:
        if kind == "seq" and len(tree[2]) == 2:
            return _interval(tree)
        if kind == "named":
            return ALL if tree[1] == "R" else EMPTY if tree[1] == "empty" else _half(tree[1])
        if kind == "union":
            return _fold(tree[1], _union)
        if kind == "inter":
            return _fold(tree[1], intersection)
        if kind == "minus":
            left, right = region(tree[1]), region(tree[2])
            return None if left is None or right is None else intersection(left, complement(right))
        if kind == "set":
            points = [Interval(item, True, item, True) for item in tree[1]]
            return _sorted(None, points)
        if kind == "builder":
            return _builder(tree)
        if kind == "rel":
            return _relation(tree[1])
        if kind in ("and", "or", "list"):
            found = _fold(tree[1], _union if kind == "or" else intersection)
            if kind == "list" and found is not None and not found.intervals:  # `x < 1, x > 5` means or
                return _fold(tree[1], _union)
            return found
    except (ArithmeticError, ValueError, RecursionError):
        return None
    return None


def complement(r: Region) -> Region:
    found, low, closed = [], _LOW, False
    for interval in r.intervals:
        if not _infinite(interval.low):
            found.append(Interval(low, closed, interval.low, not interval.low_closed))
        low, closed = interval.high, not interval.high_closed
    if low != _HIGH:
        found.append(Interval(low, closed, _HIGH, False))
    return Region(
        r.variable, tuple(i for i in found if _place(i.low) < _place(i.high) or (i.low_closed and i.high_closed))
    )


def intersection(a: Region, b: Region) -> Region:
    found = []
    for x in a.intervals:
        for y in b.intervals:
            low, low_closed = max(
                ((x.low, x.low_closed), (y.low, y.low_closed)), key=lambda e: (_place(e[0]), not e[1])
            )
            high, high_closed = min(
                ((x.high, x.high_closed), (y.high, y.high_closed)), key=lambda e: (_place(e[0]), e[1])
            )
            if _place(low) < _place(high) or (_place(low) == _place(high) and low_closed and high_closed):
                found.append(Interval(low, low_closed, high, high_closed))
    return _sorted(_common(a, b), found)


def same_region(a: Region, b: Region, same: Callable[[Tree, Tree], bool]) -> bool:
    if a.variable and b.variable and a.variable != b.variable:
        return False
    if len(a.intervals) != len(b.intervals):
        return False
    return all(
        x.low_closed == y.low_closed
        and x.high_closed == y.high_closed
        and _same_end(x.low, y.low, same)
        and _same_end(x.high, y.high, same)
        for x, y in zip(a.intervals, b.intervals, strict=True)
    )


def _union(a: Region, b: Region) -> Region:
    return _sorted(_common(a, b), [*a.intervals, *b.intervals])


def _common(a: Region, b: Region) -> str | None:
    if a.variable and b.variable and a.variable != b.variable:
        raise Unparsable("two variables")
    return a.variable or b.variable


def _fold(parts: tuple[Tree, ...], join: Callable[[Region, Region], Region]) -> Region | None:
    found = [r for r in map(region, parts) if r is not None]
    if len(found) < len(parts):
        return None
    total = found[0]
    for r in found[1:]:
        total = join(total, r)
    return total


def _interval(tree: Tree) -> Region | None:
    low, high = tree[2]
    return _sorted(None, [Interval(_end(low), tree[1] == "[", _end(high), tree[3] == "]")])


def _half(name: str) -> Region | None:
    zero: Tree = ("num", Fraction(0))
    if name == "R+":
        return Region(None, (Interval(zero, False, _HIGH, False),))
    if name == "R-":
        return Region(None, (Interval(_LOW, False, zero, False),))
    return None


def _builder(tree: Tree) -> Region | None:
    element, condition = tree[1], tree[2]
    base = ALL
    if element[0] == "rel" and len(element[1]) == 3 and element[1][1] == "in":
        found = region(element[1][2])
        if found is None:
            return None
        base, element = found, element[1][0]
    if element[0] != "sym":
        return None
    inside = region(condition)
    if inside is None or inside.variable not in (None, element[1]):
        return None
    return Region(None, intersection(base, inside).intervals)


def _relation(chain: tuple) -> Region | None:
    total: Region | None = None
    for left, operator, right in zip(chain[0::2], chain[1::2], chain[2::2], strict=False):
        found = _pair(left, operator, right)
        if found is None:
            return None
        total = found if total is None else intersection(total, found)
    return total


def _pair(left: Tree, operator: str, right: Tree) -> Region | None:
    if operator in ("in", "notin"):
        inside = region(right)
        if left[0] != "sym" or inside is None:
            return None
        inside = Region(left[1], inside.intervals)
        return inside if operator == "in" else complement(inside)
    if operator == "=":
        if left[0] != "sym" or has(right, "sym") or is_region(right):
            return None
        return Region(left[1], (Interval(right, True, right, True),))
    if operator not in ("<", ">", "<=", ">=", "!="):
        return None
    if right[0] == "fn" and right[1] == "abs":
        left, operator, right = right, _FLIPPED.get(operator, operator), left
    if left[0] == "fn" and left[1] == "abs" and operator != "!=" and not has(right, "sym"):
        inside = left[2][0]
        upper, lower = _compared(inside, operator, right), _compared(inside, _FLIPPED[operator], ("neg", right))
        if upper is None or lower is None or (operator[0] == ">" and _place(right) < 0):
            return None
        return (intersection if operator[0] == "<" else _union)(upper, lower)
    return _compared(left, operator, right)


def _compared(left: Tree, operator: str, right: Tree) -> Region | None:
    if operator != "!=" and (found := _quadratic(left, operator, right)) is not None:
        return found
    solved = _solved(left, right)
    if solved is None:
        return None
    variable, end, flip = solved
    operator = _FLIPPED.get(operator, operator) if flip else operator
    closed = operator in ("<=", ">=")
    if operator == "!=":
        return complement(Region(variable, (Interval(end, True, end, True),)))
    if _infinite(end):
        return Region(variable, ALL.intervals)
    if operator[0] == "<":
        return Region(variable, (Interval(_LOW, False, end, closed),))
    return Region(variable, (Interval(end, closed, _HIGH, False),))


def _quadratic(left: Tree, operator: str, right: Tree) -> Region | None:
    difference = polynomials.plus(algebra.ratio(left), polynomials.negative(algebra.ratio(right)))
    names = polynomials.symbols(difference)
    if len(names) != 1 or difference[1] != {(): Fraction(1)}:
        return None
    (name,) = names
    atom = ("s", name)
    degrees = {((atom, 2),): 2, ((atom, 1),): 1, (): 0}
    if any(monomial not in degrees for monomial in difference[0]):
        return None
    c, b, a = (
        next((value for monomial, value in difference[0].items() if degrees[monomial] == d), Fraction(0))
        for d in range(3)
    )
    if not a:
        return None
    inside = operator[0] == ("<" if a > 0 else ">")  # between the roots
    closed, square = operator.endswith("="), b * b - 4 * a * c
    if square < 0:
        return Region(name, EMPTY.intervals if inside else ALL.intervals)
    low, high = sorted(
        (("div", ("add", (("num", -b), sign)), ("num", 2 * a)) for sign in _both(("root", ("num", square), 2))),
        key=_place,
    )
    between = _sorted(
        name, [Interval(low, True, high, True)] if closed == inside else [Interval(low, False, high, False)]
    )
    return between if inside else complement(between)


def _both(tree: Tree) -> tuple[Tree, Tree]:
    return tree, ("neg", tree)


def _solved(left: Tree, right: Tree) -> tuple[str, Tree, bool] | None:
    """A linear relation as (variable, bound, whether the relation flips)."""
    if left[0] == "sym" and not has(right, "sym"):
        return left[1], _end(right), False
    if right[0] == "sym" and not has(left, "sym"):
        return right[1], _end(left), True
    difference = polynomials.plus(algebra.ratio(left), polynomials.negative(algebra.ratio(right)))
    names = polynomials.symbols(difference)
    if len(names) != 1 or difference[1] != {(): Fraction(1)}:
        return None
    (name,) = names
    atom = ("s", name)
    slope, rest = Fraction(0), Fraction(0)
    for monomial, coefficient in difference[0].items():
        if monomial == ((atom, 1),):
            slope = coefficient
        elif monomial == ():
            rest = coefficient
        else:
            return None
    return (name, ("num", -rest / slope), slope < 0) if slope else None


def _end(tree: Tree) -> Tree:
    if tree[0] == "const" and tree[1] == "oo":
        return _HIGH
    if tree[0] == "neg" and tree[1] == _HIGH:
        return _LOW
    return tree


def _infinite(tree: Tree) -> bool:
    return tree in (_LOW, _HIGH)


def _place(tree: Tree) -> Fraction | float:
    """Raises if an end cannot be ordered."""
    if tree == _LOW:
        return float("-inf")
    if tree == _HIGH:
        return float("inf")
    value = polynomials.rational(algebra.ratio(tree))
    return value if value is not None else round(estimate.real(tree), 9)


def _same_end(a: Tree, b: Tree, same: Callable[[Tree, Tree], bool]) -> bool:
    if _infinite(a) or _infinite(b):
        return a == b
    return same(a, b)


def _sorted(variable: str | None, intervals: list[Interval]) -> Region:
    """Joins intervals that touch, drops empty ones."""
    intervals = [
        i
        for i in intervals
        if _place(i.low) < _place(i.high) or (_place(i.low) == _place(i.high) and i.low_closed and i.high_closed)
    ]
    intervals.sort(key=lambda i: (_place(i.low), not i.low_closed))
    joined: list[Interval] = []
    for interval in intervals:
        if joined:
            last = joined[-1]
            low, high = _place(interval.low), _place(last.high)
            if low < high or (low == high and (interval.low_closed or last.high_closed)):
                if (_place(interval.high), interval.high_closed) > (high, last.high_closed):
                    joined[-1] = Interval(last.low, last.low_closed, interval.high, interval.high_closed)
                continue
        joined.append(interval)
    return Region(variable, tuple(joined))
