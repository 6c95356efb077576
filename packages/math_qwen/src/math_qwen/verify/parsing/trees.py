"""Trees of answers, and small helpers to build and search them.

A tree is a tuple; its first entry is its kind:

    ("num", Fraction) ("sym", name) ("const", "pi" | "e" | "i" | "oo") ("text", words)
    ("add", terms) ("mul", factors) ("div", a, b) ("pow", a, b) ("root", a, n) ("neg", a) ("pm", a) ("mp", a)
    ("fn", name, arguments) a known function; ("app", name, arguments) an unknown one
    ("deg", a) degrees; ("pct", a); ("qty", a, unit words)
    ("list" | "and" | "or" | "set", items) ("seq", open, items, close) round or square brackets with commas
    ("rel", (first, operator, second, operator, third …)) ("mod", a, modulus)
    ("union" | "inter", parts) ("minus", a, b) ("named", "R" | … | "empty") ("builder", element, condition)
    ("mat", rows) ("cases", ((value, condition) …)) ("ratio", parts)
    ("big", kind, variable, low, high, body) sums, products, integrals, limits
"""

from __future__ import annotations

from typing import Any

from math_qwen.verify.limits import Unparsable

Tree = tuple[Any, ...]
VALUES = frozenset(["num", "sym", "const", "add", "mul", "div", "pow", "root", "neg", "fn", "app", "deg", "pct", "big"])


def is_whole(tree: Tree) -> bool:
    return tree[0] == "num" and tree[1].denominator == 1


def times(a: Tree, b: Tree) -> Tree:
    return ("mul", (*(a[1] if a[0] == "mul" else (a,)), b))


def mixed_or_product(a: Tree, b: Tree) -> Tree:
    r"""`2\frac{1}{3}`: mixed if the fraction is proper and all numbers are whole."""
    if b[0] in ("pct", "deg"):  # 33⅓%
        mixed = mixed_or_product(a, b[1])
        return (b[0], mixed) if mixed[0] == "num" else times(a, b)
    if is_whole(a) and b[0] == "div" and is_whole(b[1]) and is_whole(b[2]) and 0 < b[1][1] < b[2][1]:
        return ("num", a[1] + b[1][1] / b[2][1])
    return times(a, b)


def primed(tree: Tree, count: int) -> Tree:
    """f as f'. Raises Unparsable if `tree` is no name."""
    if tree[0] != "sym":
        raise Unparsable("a prime after no name")
    return ("sym", tree[1] + "'" * count)


def index_text(index: Tree) -> str | None:
    """An index that is a number, a word, a capital, or a number with letters; None for an expression."""
    if index[0] == "num":
        return str(index[1])
    if index[0] == "text":
        return str(index[1])
    if index[0] == "mul" and all(part[0] in ("sym", "num", "const") for part in index[1]) and index[1][0][0] == "num":
        return "".join(str(part[1]) for part in index[1])
    if index[0] == "sym" and len(index[1]) == 1 and (index[1].isupper()):
        return index[1]
    return None


def conjugate(tree: Tree) -> Tree | None:
    """None for a name."""
    found = False

    def turned(part: Any) -> Any:
        nonlocal found
        if part == ("const", "i"):
            found = True
            return ("neg", part)
        return tuple(map(turned, part)) if isinstance(part, tuple) else part

    result = turned(tree)
    return result if found and tree[0] != "const" and "sym" not in _kinds(tree) else None


def _kinds(tree: Any) -> set[str]:
    if not isinstance(tree, tuple):
        return set()
    return {tree[0] if tree and isinstance(tree[0], str) else ""}.union(*map(_kinds, tree))


def mentions(tree: Any, part: Tree) -> bool:
    return tree == part or (isinstance(tree, tuple) and any(mentions(inner, part) for inner in tree))


def has(tree: Any, kind: str) -> bool:
    """Whether a node of this kind stands anywhere in the tree."""
    if not isinstance(tree, tuple):
        return False
    if tree and tree[0] == kind:
        return True
    return any(has(part, kind) for part in tree if isinstance(part, tuple))
