"""The forms of answers: labels, units behind a value, chains of equations, cases."""

from __future__ import annotations

import math
from fractions import Fraction

from math_qwen.verify.comparison import algebra, estimate
from math_qwen.verify.comparison.matrices import determinant, matrix
from math_qwen.verify.comparison.regions import complement, intersection, region
from math_qwen.verify.parsing import units
from math_qwen.verify.parsing.trees import VALUES, Tree, has, mentions

CONSTANTS_OF_INTEGRATION = frozenset(("C", "c", "K", "k", "C_1", "c_1", "C_0"))
DEGREE: units.Unit = (("degree", 1),)


def canonical(tree: Tree) -> Tree:
    """Without approximations behind exact values and steps of chains; with units outside of products."""
    kind = tree[0]
    if kind in ("mul", "div", "neg", "add"):
        return _hoisted(tree)
    if kind == "fn" and tree[1] == "det" and len(tree[2]) == 1:
        grid = matrix(tree[2][0])
        return tree if grid is None or len(grid) != len(grid[0]) or len(grid) > 4 else determinant(grid)
    if kind == "set" and len(tree[1]) == 1 and tree[1][0][0] in ("set",):
        return canonical(tree[1][0])
    if kind in ("list", "and", "or") and len(tree[1]) > 1:
        if all(part[0] == "set" and len(part[1]) == 1 for part in tree[1]):
            return (kind, tuple(part[1][0] for part in tree[1]))
        return tree
    if kind != "rel":
        return tree
    chain = list(tree[1])
    while "to" in chain[1::2]:
        at = chain.index("to")
        if at % 2 == 0:
            break
        chain = chain[at + 1 :]
    for k in range(1, len(chain), 2):
        if chain[k] == "~":
            if k == 1 and is_label(chain[0]):
                chain[k] = "="
                continue
            chain = chain[:k]
            break
    if len(chain) == 1:
        return canonical(chain[0])
    if len(chain) > 3 and set(chain[1::2]) == {"="}:
        if is_label(chain[0]):
            chain = [chain[0], "=", chain[-1]]
        else:
            return canonical(chain[-1])
    if len(chain) == 3 and chain[1] == "=" and chain[0][0] == "seq" and chain[2][0] == "seq":
        names, values = chain[0][2], chain[2][2]
        if len(names) == len(values) and all(name[0] in ("sym", "app") for name in names):
            return ("list", tuple(("rel", (name, "=", value)) for name, value in zip(names, values, strict=True)))
    if len(chain) == 3 and chain[1] == "in" and chain[0][0] == "sym" and chain[2][0] == "set":
        return ("rel", (chain[0], "=", chain[2]))
    return ("rel", tuple(chain))


def approximation(tree: Tree) -> Tree | None:
    """3.16 of `√10 ≈ 3.16`, if √10 rounds to it."""
    if tree[0] != "rel" or tree[1][-2] != "~" or tree[1][-1][0] != "num":
        return None
    try:
        exact = estimate.real(tree[1][-3])
    except (ArithmeticError, ValueError, RecursionError, TypeError):
        return None
    return tree[1][-1] if abs(exact - float(tree[1][-1][1])) <= 0.01 * abs(exact) else None


def without_point_name(tree: Tree, other: Tree) -> Tree:
    """A(1,2) as its coordinates if `other` has coordinates; C(5,2) as a binomial if `other` is a value."""
    if tree[0] != "mul" or len(tree[1]) != 2 or tree[1][0][0] != "sym" or tree[1][1][0] != "seq":
        return tree
    name, bracket = tree[1][0][1], tree[1][1]
    if name[:1].isupper() and other[0] == "seq":
        return bracket
    if name == "C" and len(bracket[2]) == 2 and other[0] in VALUES and bracket[1] == "(":
        return ("fn", "binom", bracket[2])
    return tree


def is_time_of_day(parts: list[Tree]) -> bool:
    """Whether 3:30 is a time of day: a ratio would be in lowest terms."""
    if len(parts) != 2 or any(part[0] != "num" or part[1].denominator != 1 for part in parts):
        return False
    hours, minutes = (int(part[1]) for part in parts)
    return 0 <= hours <= 24 and 10 <= minutes < 60 and math.gcd(hours, minutes) > 1


def letters_as_unit(tree: Tree) -> tuple[Tree, units.Unit] | None:
    r"""`5 \frac{m}{s}`, a product of symbols, as 5 m/s."""
    if tree[0] not in ("mul", "div"):
        return None
    try:
        above, below = algebra.ratio(tree)
    except ValueError:
        return None
    if len(above) != 1 or len(below) != 1 or () not in below:
        return None
    ((monomial, value),) = above.items()
    if not monomial or any(atom[0] != "s" or len(atom[1]) != 1 for atom, _ in monomial):
        return None
    unit = {units.unit_of(atom[1])[0][0]: power for atom, power in monomial if units.unit_of(atom[1])}
    return ("num", value), tuple(sorted(unit.items()))


def split_unit(tree: Tree) -> tuple[Tree, units.Unit]:
    if tree[0] == "qty":
        value, unit = split_unit(canonical(tree[1]))
        return value, unit or units.unit_of(tree[2])
    if tree[0] == "deg":
        return tree[1], DEGREE
    if tree[0] == "rel" and len(tree[1]) == 3 and tree[1][1] == "=":
        value, unit = split_unit(canonical(tree[1][2]))
        return (("rel", (*tree[1][:2], value)), unit) if unit else (tree, ())
    if tree[0] == "neg" and tree[1][0] in ("deg", "qty"):
        value, unit = split_unit(tree[1])
        return ("neg", value), unit
    return tree, ()


def in_radians(degrees: Tree) -> Tree:
    if degrees[0] == "rel":
        return ("rel", (*degrees[1][:-1], in_radians(degrees[1][-1])))
    return ("mul", (degrees, ("div", ("const", "pi"), ("num", Fraction(180)))))


def is_label(tree: Tree) -> bool:
    """Whether the left side of an equation only names the right: x, f(x), AB, |AB|, A:B, NO/BO, sin A."""
    kind = tree[0]
    if kind in ("sym", "text", "app"):
        return True
    if kind == "seq":
        return all(is_label(part) for part in tree[2])
    if kind in ("union", "inter"):
        return all(is_label(part) for part in tree[1])
    if kind == "mat":
        return all(is_label(part) for row in tree[1] for part in row)
    if kind in ("mul", "ratio"):
        return all(is_label(part) or part == ("const", "e") for part in tree[1])
    if kind == "div":
        return is_label(tree[1]) and is_label(tree[2])
    if kind == "fn":
        return tree[1] in (
            "abs",
            "sin",
            "cos",
            "tan",
            "cot",
            "sec",
            "csc",
            "gcd",
            "lcm",
            "det",
            "max",
            "min",
            "deg",
            "Re",
            "Im",
            "arg",
            "dim",
            "rank",
        ) and all(part[0] in ("sym", "mul", "app", "seq", "add") and not has(part, "num") for part in tree[2])
    return False


def _hoisted(tree: Tree) -> Tree:
    if tree[0] == "neg" and tree[1][0] in ("qty", "mul", "div"):
        inside = canonical(tree[1])
        return ("qty", ("neg", inside[1]), inside[2]) if inside[0] == "qty" else tree
    if tree[0] == "mul" and len(tree[1]) == 2 and tree[1][1][0] == "div":
        above, below = tree[1][1][1:]
        if above[0] == "text" and below[0] in ("text", "sym"):  # 100 \\frac{\\text{km}}{\\text{h}}
            return ("qty", tree[1][0], f"{above[1]}/{below[1]}")
    if tree[0] == "mul":
        quantities = [k for k, part in enumerate(tree[1]) if part[0] == "qty"]
        if len(quantities) == 1:
            k = quantities[0]
            return ("qty", ("mul", (*tree[1][:k], tree[1][k][1], *tree[1][k + 1 :])), tree[1][k][2])
    if tree[0] == "div" and tree[1][0] == "qty":
        return ("qty", ("div", tree[1][1], tree[2]), tree[1][2])
    if (
        tree[0] == "add"
        and len(tree[1]) == 2
        and tree[1][0][0] in ("named", "seq", "union")
        and tree[1][1][:1] == ("neg",)
    ):
        return ("minus", tree[1][0], tree[1][1][1])  # R - {0}
    if tree[0] == "add" and all(part[0] == "deg" or (part[:1] == ("neg",) and part[1][0] == "deg") for part in tree[1]):
        return ("deg", ("add", tuple(part[1] if part[0] == "deg" else ("neg", part[1][1]) for part in tree[1])))
    return tree


def is_number(tree: Tree) -> bool:
    return tree[0] in VALUES and not any(has(tree, kind) for kind in ("sym", "app", "text", "big"))


def is_empty(tree: Tree) -> bool:
    return tree == ("text", "")


def flipped(chain: tuple) -> tuple | None:
    turned = {
        "<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!=", "equiv": "equiv", "parallel": "parallel",
        "perp": "perp", "~": "~",
    }  # fmt: skip
    if any(operator not in turned for operator in chain[1::2]):
        return None
    return tuple(
        turned[part] if k % 2 else part for k, part in zip(range(len(chain) - 1, -1, -1), reversed(chain), strict=True)
    )


def congruence(tree: Tree) -> tuple[Tree, Tree | None]:
    if tree[0] == "mod":
        return tree[1], tree[2]
    return tree, None


def explicit_cases(cases: tuple) -> list[tuple[Tree, Tree]]:
    """`otherwise` becomes the condition that it stands for, if that can be computed."""
    known = [region(condition) for _, condition in cases if condition != ("text", "otherwise")]
    found = []
    for value, condition in cases:
        if condition == ("text", "otherwise") and known and all(r is not None for r in known):
            rest = _rest(known)
            if rest is not None:
                condition = rest
        found.append((value, condition))
    return found


def _rest(known: list) -> Tree | None:
    try:
        total = complement(known[0])
        for r in known[1:]:
            total = intersection(total, complement(r))
    except (ArithmeticError, ValueError):
        return None
    parts: list[Tree] = [
        ("seq", "[" if i.low_closed else "(", (i.low, i.high), "]" if i.high_closed else ")") for i in total.intervals
    ]
    if not parts or total.variable is None:
        return None
    return ("rel", (("sym", total.variable), "in", parts[0] if len(parts) == 1 else ("union", tuple(parts))))


def ratio_parts(tree: Tree) -> list[Tree]:
    if tree[0] == "ratio":
        return list(tree[1])
    if tree[0] == "div":
        return [tree[1], tree[2]]
    return [tree, ("num", Fraction(1))]


def without_constant(tree: Tree) -> Tree | None:
    if tree[0] != "add" or tree[1][-1][0] != "sym" or tree[1][-1][1] not in CONSTANTS_OF_INTEGRATION:
        return None
    rest: Tree = ("add", tree[1][:-1]) if len(tree[1]) > 2 else tree[1][0]
    return None if mentions(rest, tree[1][-1]) else rest


def same_label(a: Tree, b: Tree) -> bool:
    """W(n) and W(x) mean the same."""
    return a == b or (a[0] == b[0] == "app" and a[1] == b[1] and len(a[2]) == len(b[2]))
